"""From the consumer's thread to the agents: everything once and in order, however far the loop is behind."""

from __future__ import annotations

import asyncio
import gc
import threading

from faust.types import TP

from streams.chunk_pump import LOTS_MAX, Lot, Pump
from streams.chunks import Chunk, Chunks, Untaken
from tests.events import record

EVENTS = TP("events", 0)


class Thread:
    """Fetches lots of one record, `lots` of them, on a thread of its own; `flows` until told otherwise."""

    def __init__(self, pump: Pump, lots: int) -> None:
        self.fetched = 0
        self.flows = True
        self._pump, self._lots = pump, lots
        self._thread = threading.Thread(target=lambda: asyncio.run(pump.run(self._fetch, lambda: self.flows)))
        self._thread.start()

    async def _fetch(self) -> Lot:
        if self.fetched == self._lots:
            self.flows = False
            return {}
        self.fetched += 1
        return {EVENTS: [self.fetched]}

    async def join(self) -> None:
        await asyncio.to_thread(self._thread.join, 10)
        assert not self._thread.is_alive()


async def test_every_lot_arrives_once_and_in_order() -> None:
    """Also those that wait when the thread has ended."""
    pump = Pump()
    thread = Thread(pump, 500)
    arrived: list[int] = []

    async def take() -> None:
        async for lot in pump.lots():
            arrived.extend(lot[EVENTS])

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(take())
        await thread.join()
        pump.end()
    assert arrived == list(range(1, 501))


async def test_a_loop_that_is_behind_is_not_buried() -> None:
    """No more than a few lots wait; what else there is stays with aiokafka, whose bound is the fetch's."""
    pump = Pump()
    thread = Thread(pump, 100)
    lots = pump.lots()
    async with asyncio.timeout(20):
        first = await anext(lots)
        while thread.fetched < LOTS_MAX:
            await asyncio.sleep(0.001)
        for _ in range(50):  # rounds of the loop, in which the thread might go on
            await asyncio.sleep(0.001)
        fetched_meanwhile = thread.fetched
        pump.end()
        await thread.join()
    assert first == {EVENTS: [1]}
    assert fetched_meanwhile == LOTS_MAX


async def test_the_thread_ends_with_the_flow() -> None:
    """A rebalance waits for nobody who waits for room."""
    pump = Pump()
    thread = Thread(pump, 100)
    async with asyncio.timeout(20):
        while thread.fetched < LOTS_MAX:
            await asyncio.sleep(0.001)
        pump.end()
        await thread.join()
    assert thread.fetched == LOTS_MAX


def _chunk(offset: int) -> Chunk:
    return Chunk("events", 0, [record(offset, b"{}")])


def _offsets(chunks: Chunks | None) -> list[int]:
    assert chunks is not None
    return [chunk.last for chunk in chunks.take()]


def test_an_agent_is_at_most_one_message_behind() -> None:
    """What comes before it has looked joins what waits, behind it; what comes afterwards is a message of its own."""
    untaken = Untaken()
    first = untaken.add("events", [_chunk(1), _chunk(2)], 1)
    assert untaken.add("events", [_chunk(3)], 1) is None
    assert _offsets(first) == [1, 2, 3]
    assert _offsets(untaken.add("events", [_chunk(4)], 1)) == [4]


def test_topics_do_not_mix() -> None:
    """Each has an agent of its own."""
    untaken = Untaken()
    events, commands = untaken.add("events", [_chunk(1)], 1), untaken.add("commands", [_chunk(2)], 1)
    assert (_offsets(events), _offsets(commands)) == ([1], [2])


def test_what_faust_has_dropped_holds_up_nothing() -> None:
    """Faust clears an agent's queue when it resumes: what comes then does not join a message that is gone."""
    untaken = Untaken()
    dropped = untaken.add("events", [_chunk(1)], 1)
    del dropped
    gc.collect()
    assert _offsets(untaken.add("events", [_chunk(2)], 1)) == [2]


def test_another_assignment_has_messages_of_its_own() -> None:
    """Faust passes over messages of an assignment that is over, with all that is in them."""
    untaken = Untaken()
    before = untaken.add("events", [_chunk(1)], 1)
    assert _offsets(untaken.add("events", [_chunk(2)], 2)) == [2]
    assert _offsets(before) == [1]
