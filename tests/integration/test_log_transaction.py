"""The transactional writer and the reader on a real Kafka: what is committed together, who may write, where reading ends."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import NewTopic

from gateway.local.kafka import Kafka
from streams.errors import Fatal, Fenced
from streams.log_reader import TP, LogReader
from streams.log_transaction import Append, TransactionalWriter, connect
from streams.topic_admin import administering

pytestmark = pytest.mark.connected


class Log:
    """Two topics of a test's own, and writers and readers over them."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.state, self.audit, self.small = f"{prefix}.state", f"{prefix}.audit", f"{prefix}.small"

    async def open(self) -> None:
        topics = [NewTopic(name, 1, 1) for name in (self.state, self.audit)]
        topics.append(NewTopic(self.small, 1, 1, topic_configs={"max.message.bytes": "1000"}))
        async with administering(self.bootstrap) as admin:
            await admin.create_topics(topics)
        self.client = await connect(self.bootstrap, request_timeout_s=10)

    def writer(self, name: str = "w", *, batch_bytes_max: int = 900_000, **options: object) -> TransactionalWriter:
        ident = f"{self.state}.{name}"
        return TransactionalWriter(
            self.client, ident, transaction_timeout_s=10, deadline_s=5, batch_bytes_max=batch_bytes_max, **options
        )

    async def committed(self, topic: str) -> list[bytes]:
        """Values that a reader of committed records finds up to the end; fails if the position never gets there."""
        reader = LogReader(self.bootstrap)
        await reader.start()
        try:
            tp = TP(topic, 0)
            end = (await reader.ends([tp]))[tp]
            reader.assign({tp: 0})
            values: list[bytes] = []
            deadline = time.monotonic() + 10
            while await reader.position(tp) < end:
                assert time.monotonic() < deadline, f"stands at {await reader.position(tp)}, the end is {end}"
                for fetched in (await reader.poll(0.2)).values():
                    values += [record.value for record in fetched.records]
            return values
        finally:
            await reader.aclose()


@pytest.fixture
async def log(kafka: Kafka, topic_prefix: str) -> AsyncIterator[Log]:
    opened = Log(kafka.bootstrap, topic_prefix)
    await opened.open()
    yield opened
    await opened.client.close()


def _values(*values: bytes) -> list[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
    return [(b"k", value, [("h", b"1")]) for value in values]


async def test_a_transaction_is_committed_in_all_its_topics_and_tells_the_first_offsets(log: Log) -> None:
    """All appends of one call become visible, and the offsets returned are those of their first records."""
    writer = log.writer()
    await writer.init()
    first = await writer.commit([Append(log.state, 0, _values(b"a", b"b")), Append(log.audit, 0, _values(b"x"))], 1)
    second = await writer.commit([Append(log.state, 0, _values(b"c"))], 2)

    assert first == {(log.state, 0): 0, (log.audit, 0): 0}
    assert second == {(log.state, 0): 3}  # two records and the commit marker before it
    assert await log.committed(log.state) == [b"a", b"b", b"c"]
    assert await log.committed(log.audit) == [b"x"]


async def test_nothing_is_committed_around_a_refused_batch(log: Log) -> None:
    """A batch that the log refuses takes its whole transaction with it, though the other topic took its batch."""
    writer = log.writer()
    await writer.init()
    with pytest.raises(Fatal):
        await writer.commit(
            [Append(log.audit, 0, _values(b"x")), Append(log.small, 0, _values(random.Random(1).randbytes(5000)))], 1
        )
    await writer.init()
    await writer.commit([Append(log.audit, 0, _values(b"after"))], 2)

    assert await log.committed(log.audit) == [b"after"]


async def test_a_later_writer_fences_an_earlier_one(log: Log) -> None:
    """After a second `init` of the same transactional id, the first holder cannot commit anything."""
    old, new = log.writer(), log.writer()
    await old.init()
    await new.init()
    with pytest.raises(Fenced):
        await old.commit([Append(log.state, 0, _values(b"late"))], 1)
    await new.commit([Append(log.state, 0, _values(b"new"))], 2)

    assert await log.committed(log.state) == [b"new"]


async def test_a_writer_that_dies_between_two_produce_requests_leaves_nothing(log: Log) -> None:
    """A chunk larger than a batch goes out in several requests; dying between them makes none of it visible."""

    async def die(number: int) -> None:
        if number == 1:
            raise Fatal("killed between two produce requests")

    dying = log.writer(batch_bytes_max=2000, before_produce=die)
    await dying.init()
    with pytest.raises(Fatal):
        await dying.commit([Append(log.state, 0, _values(*(b"%d" % n * 300 for n in range(20))))], 1)
    heir = log.writer()
    await heir.init()

    assert await log.committed(log.state) == []


async def test_a_broker_that_dies_is_heard_of_and_found_again(log: Log, kafka: Kafka) -> None:
    """Whoever waits for its answer does not wait until the request times out, and the same client goes on with the broker that comes."""
    writer = log.writer()
    await writer.init()
    await writer.commit([Append(log.state, 0, _values(b"before"))], 1)
    kafka.pause()
    commit = asyncio.create_task(writer.commit([Append(log.state, 0, _values(b"lost"))], 1))
    assert not (await asyncio.wait([commit], timeout=0.3))[0]
    killed_s = time.monotonic()
    kafka.child.kill9()
    with pytest.raises(Fatal, match="not answered"):
        await commit
    assert time.monotonic() - killed_s < 5  # half the time-out
    await asyncio.to_thread(kafka.start)
    successor = log.writer()
    await successor.init()
    await successor.commit([Append(log.state, 0, _values(b"kept"))], 2)
    assert (await log.committed(log.state))[-1:] == [b"kept"]


async def test_a_chunk_larger_than_a_batch_arrives_whole_and_in_order(log: Log) -> None:
    """Records divided over several produce requests are one transaction, in their order."""
    writer = log.writer(batch_bytes_max=2000)
    await writer.init()
    values = [b"%05d" % number * 20 for number in range(200)]
    await writer.commit([Append(log.state, 0, _values(*values)), Append(log.audit, 0, _values(b"one"))], 1)

    assert await log.committed(log.state) == values


async def test_small_transactions_are_not_held_up(log: Log) -> None:
    """A hundred small transactions one after the other take no 20 ms pause each."""
    writer = log.writer()
    await writer.init()
    started = time.monotonic()
    now_ms = time.time_ns() // 1_000_000  # retention would take records of 1970, at a moment of its own
    for _ in range(100):
        await writer.commit([Append(log.state, 0, _values(b"v")), Append(log.audit, 0, _values(b"a"))], now_ms)

    assert time.monotonic() - started < 100 * 0.1  # far above what it takes, far below what a pause and a retry would
    assert len(await log.committed(log.audit)) == 100
