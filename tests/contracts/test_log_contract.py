"""What the engine leans on in a log, stated once and run on the log of the simulation and on a real Kafka: so the simulation is no wishful one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from streams.errors import Fatal, Fenced
from streams.log_reader import TP, LogReader, OutOfRange
from streams.log_transaction import Append, TransactionalWriter, connect
from streams.topic_admin import administering
from tests.simulation.log import SimulatedLog
from tests.simulation.log_clients import SimulatedReader, SimulatedWriter
from tests.simulation.wire import Wire

_TOO_LARGE = random.Random(1).randbytes(5000)


class KafkaBench:
    """Three topics of the test's own: `state`, `audit`, and `small`, which refuses large batches."""

    def __init__(self, bootstrap: str, prefix: str, version: int) -> None:
        self._bootstrap, self._version = bootstrap, version
        self.state, self.audit, self.small = (TP(f"{prefix}.{name}", 0) for name in ("state", "audit", "small"))

    async def open(self) -> None:
        limit = {"max.message.bytes": "1000"}
        topics = [
            NewTopic(self.state.topic, 1, 1),
            NewTopic(self.audit.topic, 1, 1),
            NewTopic(self.small.topic, 1, 1, topic_configs=limit),
        ]
        async with administering(self._bootstrap) as admin:
            await admin.create_topics(topics)
        self._client = await connect(self._bootstrap, request_timeout_s=10)

    async def aclose(self) -> None:
        await self._client.close()

    def writer(self, ident: str = "w") -> Any:
        name = f"{self.state.topic}.{ident}"
        options = {"transaction_timeout_s": 10, "deadline_s": 5, "batch_bytes_max": 900_000, "version_max": self._version}
        return TransactionalWriter(self._client, name, **options)

    def reader(self) -> Any:
        return LogReader(self._bootstrap)

    async def append(self, tp: TP, value: bytes) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True)
        await producer.start()
        await producer.send_and_wait(tp.topic, value, b"k", tp.partition)
        await producer.stop()


class _RealTime:
    """The loop of the test, as the simulation's servers use theirs."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.random = random.Random(0)
        self.time, self.create_future, self.later = loop.time, loop.create_future, loop.call_later


class MemoryBench:
    def __init__(self, version: int) -> None:
        self._version = version
        self.state, self.audit, self.small = TP("state", 0), TP("audit", 0), TP("small", 0)

    async def open(self) -> None:
        loop: Any = _RealTime()
        self._log, self._wire = SimulatedLog(loop, version=self._version), Wire(loop)
        self._log.refuses = lambda tp, records: tp == self.small and any(len(record[1] or b"") > 1000 for record in records)

    async def aclose(self) -> None:
        """Nothing is open."""

    def writer(self, ident: str = "w") -> Any:
        return SimulatedWriter(self._log, self._wire, ident)

    def reader(self) -> Any:
        return SimulatedReader(self._log, self._wire)

    async def append(self, tp: TP, value: bytes) -> None:
        self._log.append(tp, [(b"k", value, [])])


@pytest.fixture(params=[1, 2], ids=["version_1", "version_2"])
def version(request: pytest.FixtureRequest) -> int:
    """Of the transaction protocol."""
    return int(request.param)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.connected)])
async def log(request: pytest.FixtureRequest, topic_prefix: str, version: int) -> AsyncIterator[Any]:
    in_memory = request.param == "memory"
    bench = MemoryBench(version) if in_memory else KafkaBench(request.getfixturevalue("kafka").bootstrap, topic_prefix, version)
    await bench.open()
    yield bench
    await bench.aclose()


def appended(tp: TP, *values: bytes) -> Append:
    return Append(tp.topic, tp.partition, [(b"k", value, [("h", b"1")]) for value in values])


async def read(log: Any, tp: TP, position: int = 0) -> tuple[list[Any], int, int]:
    """What a reader finds up to the end as it is now: records, its position then, and that end."""
    reader = log.reader()
    await reader.start()
    try:
        end = (await reader.ends([tp]))[tp]
        reader.assign({tp: position})
        records: list[Any] = []
        async with asyncio.timeout(10):
            while await reader.position(tp) < end:
                for fetched in (await reader.poll(0.2)).values():
                    records += fetched.records
        return records, await reader.position(tp), end
    finally:
        await reader.aclose()


async def values(log: Any, tp: TP, position: int = 0) -> list[bytes]:
    return [record.value for record in (await read(log, tp, position))[0]]


async def left_open(log: Any, *appends: Append, ident: str = "w") -> Any:
    """A writer that died when its records were in the log and the commit was not sent."""

    async def die() -> None:
        raise Fatal("killed before the commit")

    writer = log.writer(ident)
    await writer.init()
    writer._end = die
    with pytest.raises(Fatal):
        await writer.commit(appends, 1)
    return writer


async def test_a_commit_makes_all_its_appends_visible_and_tells_their_first_offsets(log: Any) -> None:
    """Two topics in one transaction; the marker behind the records takes an offset that the next transaction does not get."""
    writer = log.writer()
    await writer.init()
    first = await writer.commit([appended(log.state, b"a", b"b"), appended(log.audit, b"x")], 1)
    second = await writer.commit([appended(log.state, b"c")], 2)

    assert first == {tuple(log.state): 0, tuple(log.audit): 0}
    assert second == {tuple(log.state): 3}
    assert await values(log, log.state) == [b"a", b"b", b"c"]
    assert await values(log, log.audit) == [b"x"]


async def test_a_record_arrives_as_it_was_written(log: Any) -> None:
    """Key, value, headers, and a tombstone."""
    writer = log.writer()
    await writer.init()
    await writer.commit([Append(*log.state, [(b"k1", b"v", [("h", b"1"), ("i", b"2")]), (b"k2", None, [])])], 7)
    records, _, _ = await read(log, log.state)

    assert [(r.offset, r.key, r.value, tuple(r.headers)) for r in records] == [
        (0, b"k1", b"v", (("h", b"1"), ("i", b"2"))),
        (1, b"k2", None, ()),
    ]


async def test_the_position_reaches_the_end_although_the_last_offset_is_a_marker(log: Any) -> None:
    """What recovery waits for: positions, not offsets of records."""
    writer = log.writer()
    await writer.init()
    await writer.commit([appended(log.state, b"a")], 1)
    await asyncio.sleep(0.1)
    records, position, end = await read(log, log.state)

    assert (records[-1].offset, position, end) == (0, 2, 2)


async def test_reading_begins_at_any_position(log: Any) -> None:
    """In the middle of a transaction's records, and at its marker."""
    writer = log.writer()
    await writer.init()
    await writer.commit([appended(log.state, b"a", b"b")], 1)
    await writer.commit([appended(log.state, b"c")], 1)

    assert await values(log, log.state, 1) == [b"b", b"c"]
    assert await values(log, log.state, 2) == [b"c"]


async def test_nothing_of_an_open_transaction_is_seen(log: Any) -> None:
    """The end for readers of committed records stands before it, also for what others append behind it."""
    await left_open(log, appended(log.state, b"open"))
    await log.append(log.state, b"behind")
    records, position, end = await read(log, log.state)

    assert (records, position, end) == ([], 0, 0)


async def test_a_take_over_ends_what_was_open_before_it_answers(log: Any) -> None:
    """After `init` the ends are final: aborted records are passed over, what stood behind them is seen, the position reaches the end."""
    await left_open(log, appended(log.state, b"open", b"open"), appended(log.audit, b"open"))
    await log.append(log.state, b"behind")
    await log.writer().init()
    records, position, end = await read(log, log.state)

    assert [record.value for record in records] == [b"behind"]
    assert position == end == 4
    assert await read(log, log.audit) == ([], 2, 2)


async def test_a_later_writer_fences_an_earlier_one(log: Any) -> None:
    """After a second `init` of the same transactional id the first holder commits nothing, whenever it wakes up."""
    old, new = log.writer(), log.writer()
    await old.init()
    await old.commit([appended(log.state, b"mine")], 1)
    await new.init()
    with pytest.raises(Fenced):
        await old.commit([appended(log.state, b"late")], 2)
    await new.commit([appended(log.state, b"new")], 3)

    assert await values(log, log.state) == [b"mine", b"new"]


async def test_a_writer_that_was_paused_before_its_commit_is_fenced(log: Any) -> None:
    """Its records are in the log; its commit comes after the take-over, and is refused."""
    paused = await left_open(log, appended(log.state, b"late"))
    heir = log.writer()
    await heir.init()
    with pytest.raises(Fenced):
        await type(paused)._end(paused)
    await heir.commit([appended(log.state, b"new")], 2)

    assert await values(log, log.state) == [b"new"]


async def test_writers_of_different_ids_do_not_meet(log: Any) -> None:
    """A take-over of one partition's id leaves another's alone."""
    one, other = log.writer("one"), log.writer("other")
    await one.init()
    await other.init()
    await one.commit([appended(log.state, b"one")], 1)
    await other.commit([appended(log.state, b"other")], 1)

    assert sorted(await values(log, log.state)) == [b"one", b"other"]


async def test_nothing_is_committed_around_a_refused_batch(log: Any) -> None:
    """A batch that the log refuses takes its whole transaction with it; the writer begins anew with `init`."""
    writer = log.writer()
    await writer.init()
    with pytest.raises(Fatal):
        await writer.commit([appended(log.audit, b"x"), appended(log.small, _TOO_LARGE)], 1)
    await writer.init()
    await writer.commit([appended(log.audit, b"after")], 2)

    assert await values(log, log.audit) == [b"after"]


async def test_a_position_that_the_log_does_not_have_is_told(log: Any) -> None:
    """Beyond the end: whoever remembered it has outlived a tail that was lost."""
    await log.append(log.state, b"a")
    reader = log.reader()

    async def poll_for_ever() -> None:
        while True:
            await reader.poll(0.2)

    await reader.start()
    try:
        reader.assign({log.state: 100})
        with pytest.raises(OutOfRange):
            await asyncio.wait_for(poll_for_ever(), 10)
    finally:
        await reader.aclose()


async def test_a_poll_ends_when_its_time_is_up(log: Any) -> None:
    """Without records it brings nothing, and says so."""
    await log.append(log.state, b"a")
    reader = log.reader()
    await reader.start()
    try:
        reader.assign({log.state: 1})
        assert await reader.poll(0.05) == {}
        assert await reader.position(log.state) == 1
        assert await reader.beginnings([log.state]) == {log.state: 0}
    finally:
        await reader.aclose()
