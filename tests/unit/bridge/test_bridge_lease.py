"""Lease and checkpoint over an in-memory bucket: who holds, who waits, and what a lost reply looks like."""

from __future__ import annotations

import asyncio

import pytest

from streams.bridge_lease import Lease, Watch
from streams.errors import Fenced
from streams.nats_cell import Entry
from tests.cells import MemoryCell


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def lease(cell: MemoryCell, clock: Clock, instance: str = "one", ttl_s: float = 6.0) -> Lease:
    return Lease(cell, instance, ttl_s, clock)  # type: ignore[arg-type]


async def test_a_free_lease_is_taken_at_once() -> None:
    """Nobody waits where nobody holds."""
    it = lease(MemoryCell(), Clock())
    await asyncio.wait_for(it.acquire(), 1)
    it.check()


async def test_the_holder_stops_before_another_may_start() -> None:
    """Five sixths of the time to live after the last renewal was asked for, nothing may be sent any more."""
    clock = Clock()
    it = lease(MemoryCell(), clock)
    await it.acquire()
    clock.now_s += 4.9
    it.check()
    clock.now_s += 0.2
    with pytest.raises(Fenced, match="not renewed in time"):
        it.check()


async def test_a_released_lease_is_free_at_once() -> None:
    """A bridge that ends well does not keep the next one waiting, and may send nothing more itself."""
    cell, clock = MemoryCell(), Clock()
    it = lease(cell, clock)
    await it.acquire()
    await it.release()
    with pytest.raises(Fenced):
        it.check()
    await asyncio.wait_for(lease(cell, clock, "two").acquire(), 1)


async def test_whoever_lost_the_lease_notices_at_the_next_renewal() -> None:
    """A renewal that finds another's value raises Fenced."""
    cell, clock = MemoryCell(), Clock()
    it = lease(cell, clock, ttl_s=0.03)
    await it.acquire()
    cell.entry = Entry(b"another", cell.entry.revision + 1)
    with pytest.raises(Fenced):
        await asyncio.wait_for(it.hold(), 1)


async def test_a_holder_outlives_a_short_absence_of_nats_and_no_longer_one() -> None:
    """While NATS is away the lease counts down, and then ends."""
    cell, clock = MemoryCell(), Clock()
    it = lease(cell, clock, ttl_s=0.03)
    await it.acquire()
    cell.away = True
    holding = asyncio.create_task(it.hold())
    await asyncio.sleep(0.05)
    assert not holding.done()
    clock.now_s += 1
    with pytest.raises(Fenced, match="not renewed"):
        await asyncio.wait_for(holding, 1)


def test_a_value_that_stands_still_for_the_time_to_live_is_free() -> None:
    """Counted from when it was first seen, on the waiter's own clock; every renewal begins the count again."""
    watch = Watch(6.0)
    assert not watch.is_free(Entry(b"x", 1), 100.0)
    assert not watch.is_free(Entry(b"x", 1), 105.9)
    assert not watch.is_free(Entry(b"x", 2), 106.0)
    assert not watch.is_free(Entry(b"x", 2), 111.9)
    assert watch.is_free(Entry(b"x", 2), 112.0)


def test_an_absent_value_is_free() -> None:
    """Expired or released."""
    assert Watch(6.0).is_free(Entry(None, 3), 0.0)
