"""[control] on a real Kafka: decisions with their commands, and readers that know how old their knowledge is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.hold_watch import LEASE_S, HoldWatch
from gateway.local.kafka import Kafka
from streams.commands import Command
from streams.control import ApiKey, Hold
from streams.control_log import ControlLog
from streams.control_reader import ControlReader
from streams.control_thread import ControlThread
from streams.errors import Fatal, Retriable
from streams.log_reader import TP, LogReader
from streams.log_transaction import Append, TransactionalWriter, connect
from streams.settings import Settings
from streams.topics import Topics
from tests.brokers import orbit, topics_made

pytestmark = pytest.mark.connected
COMMAND = ("hold/h1", Command("c1", "hold", "operator", 5, subject="h1"))
HOLD = Hold("h1", "halt", principal="operator", reason="test")


@pytest.fixture
async def settings(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> Settings:
    log = {"bootstrap": kafka.bootstrap, "topic_prefix": topic_prefix, "partitions": 2, "request_timeout_s": 5}
    settings = orbit(tmp_path, kafka=log | {"session_timeout_s": 4, "transaction_timeout_s": 8})
    await topics_made(settings)
    return settings


@pytest.fixture
async def log(settings: Settings) -> AsyncIterator[ControlLog]:
    async with contextlib.aclosing(ControlLog(settings.kafka)) as log:
        yield log


@pytest.fixture
async def reader(settings: Settings) -> AsyncIterator[ControlReader]:
    async with following(settings) as reader:
        yield reader


@contextlib.asynccontextmanager
async def following(settings: Settings) -> AsyncIterator[ControlReader]:
    async with contextlib.aclosing(ControlReader(settings.kafka)) as reader:
        await reader.start()
        await eventually(lambda: reader.ready)
        yield reader


async def eventually(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def again_and_again(decide: Callable[[], Awaitable[int]], within_s: float = 20) -> int:
    """As a caller does who is told to try again: a broker that was paused leads nothing for a moment."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await decide()
        except Retriable:
            assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def commands(settings: Settings) -> list[Any]:
    topic = Topics(settings.kafka.topic_prefix).commands
    async with contextlib.aclosing(LogReader(settings.kafka.bootstrap)) as log:
        await log.start()
        ends = await log.ends([TP(topic, partition) for partition in range(2)])
        log.assign(dict.fromkeys(ends, 0))
        found = []
        for tp, end in ends.items():
            while await log.position(tp) < end:
                for fetched in (await log.poll(0.2)).values():
                    found += [
                        (record.key.decode(), msgspec.json.decode(record.value, type=Command)) for record in fetched.records
                    ]
        return found


async def test_a_decision_reaches_every_reader_with_its_command(
    settings: Settings, log: ControlLog, reader: ControlReader
) -> None:
    """What is in effect is in [commands] as well, and a reader that waits for it has it well within a second."""
    async with following(settings) as other:
        began = time.monotonic()
        offset = await log.decide(HOLD, commands=[COMMAND])
        decided = time.monotonic()
        assert await asyncio.gather(reader.wait_applied(offset, 5), other.wait_applied(offset, 5)) == [True, True]
        assert time.monotonic() - decided < 1.0, (decided - began, time.monotonic() - decided)
        assert dict(reader.holds) == dict(other.holds) == {"h1": HOLD}
    assert await commands(settings) == [COMMAND]


async def test_a_decision_is_taken_back_and_changes_are_told(log: ControlLog, reader: ControlReader) -> None:
    """A forgotten hold is released; whoever asked to be told was told both times."""
    seen: list[list[str]] = []
    reader.on_change.append(lambda: seen.append([*reader.holds, *reader.keys]))
    await log.decide(HOLD, ApiKey("k1", "c4", "00"), commands=[COMMAND])
    offset = await log.decide(commands=[], forget=[(Hold, "h1")])
    assert await reader.wait_applied(offset, 5)
    assert (seen[-1], ["h1", "k1"] in seen or len(seen) == 1) == (["k1"], True)


async def test_a_decision_that_was_not_committed_is_none(settings: Settings, reader: ControlReader) -> None:
    """A gateway that dies between the records and the commit has decided nothing: no hold, no command."""
    topics = Topics(settings.kafka.topic_prefix)
    client = await connect(settings.kafka.bootstrap, request_timeout_s=5)
    options: dict[str, Any] = {"transaction_timeout_s": 5, "deadline_s": 5, "batch_bytes_max": 900_000}

    async def dies(number: int) -> None:
        if number == 1:  # [control] has it, [commands] has the first batch
            raise Fatal("killed")

    options |= {"batch_bytes_max": 400, "before_produce": dies}
    writer = TransactionalWriter(client, "dying", **options)
    await writer.init()
    many = [(b"k", msgspec.json.encode(Command(f"c{n}", "hold", "operator", 5)), []) for n in range(9)]
    with pytest.raises(Fatal, match="killed"):
        await writer.commit(
            [Append(topics.control, 0, [(b"hold/h9", msgspec.json.encode(HOLD), [])]), Append(topics.commands, 0, many)], 5
        )
    await writer.init()  # as whoever comes after does
    await client.close()
    asked = time.monotonic()
    await eventually(lambda: reader.fresh_at > asked)
    assert (dict(reader.holds), await commands(settings)) == ({}, [])


async def test_a_reader_that_is_cut_off_is_not_fresh(kafka: Kafka, log: ControlLog, reader: ControlReader) -> None:
    """While the log does not answer the lease runs out; when it answers again, everything is known before it is fresh."""
    await reader.wait_fresh(0.7)
    await log.decide(HOLD, commands=[COMMAND])
    kafka.pause()
    try:
        await eventually(lambda: not reader.is_fresh(0.7), within_s=3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.wait_fresh(0.7), 0.5)
    finally:
        kafka.resume()
    await asyncio.wait_for(reader.wait_fresh(0.7), 20)
    assert list(reader.holds) == ["h1"]


async def test_a_doubtful_decision_is_told_and_the_next_one_is_taken(
    kafka: Kafka, log: ControlLog, reader: ControlReader
) -> None:
    """While the log is away a decision is refused in bounded time; afterwards the same writer decides again."""
    await log.decide(HOLD, commands=[COMMAND])
    kafka.pause()
    try:
        with pytest.raises(Retriable, match="did not acknowledge"):
            await log.decide(Hold("h2", "halt"), commands=[])
    finally:
        kafka.resume()
    offset = await again_and_again(lambda: log.decide(Hold("h3", "halt"), commands=[]))
    assert await reader.wait_applied(offset, 20)
    assert {"h1", "h3"} <= reader.holds.keys()


async def test_a_reader_begins_with_what_was_decided_before(settings: Settings, log: ControlLog) -> None:
    """Holds survive everything: a process that starts is `ready` only when it knows them."""
    await log.decide(HOLD, commands=[COMMAND])
    async with following(settings) as reader:
        assert (list(reader.holds), reader.is_fresh(5)) == (["h1"], True)


async def test_a_busy_loop_does_not_make_knowledge_old(settings: Settings, log: ControlLog) -> None:
    """Followed on a thread of its own, the topic is known lately even while the loop does nothing else; callbacks run on the loop."""
    control = ControlReader(settings.kafka)
    watch = HoldWatch(control, tell=asyncio.get_running_loop().call_soon_threadsafe)
    told: list[threading.Thread] = []
    watch.on_change.append(lambda: told.append(threading.current_thread()))
    async with contextlib.aclosing(ControlThread(control)) as thread:
        thread.start()
        await eventually(watch.is_current)
        time.sleep(2 * LEASE_S)
        assert watch.is_current()
        await log.decide(HOLD, commands=[COMMAND])
        await eventually(lambda: bool(told))
        assert watch.holds.blocks("chart/a", "c8") == HOLD
        assert told == [threading.main_thread()]
    assert not [running for running in threading.enumerate() if running.name == "control"]
