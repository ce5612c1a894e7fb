"""Turns begin at once when there was rest, and a moment later under load."""

from __future__ import annotations

import asyncio

import pytest

from agents.pace import Pace


class Clock:
    now_s = 100.0


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The loop's time, moved by hand: timers do not fire, `is_due` tells."""
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock.now_s, raising=False)
    return clock


async def test_after_a_rest_work_is_due_at_once(clock: Clock) -> None:
    """Who comes alone does not wait for company."""
    pace = Pace(interval_s=0.01)
    assert not pace.is_due()
    pace.want()
    assert pace.is_due()


async def test_turns_begin_an_interval_apart(clock: Clock) -> None:
    """Under load work gathers: the next turn is due when the interval since the last one began is over, and not before."""
    pace = Pace(interval_s=0.01)
    pace.want()
    pace.begin()
    pace.want()
    clock.now_s += 0.009
    assert not pace.is_due()
    clock.now_s += 0.002
    assert pace.is_due()


async def test_a_turn_takes_what_was_wanted(clock: Clock) -> None:
    """Once a turn has begun nothing is due until something is wanted again."""
    pace = Pace(interval_s=0.01)
    pace.want()
    pace.begin()
    clock.now_s += 10
    assert not pace.is_due()


async def test_the_most_urgent_work_decides(clock: Clock) -> None:
    """What may wait goes along with what may not, and is due by itself when its time is over."""
    pace = Pace(interval_s=0.01)
    pace.want(0.05)
    assert not pace.is_due()
    pace.want()
    assert pace.is_due()
    pace.begin()
    pace.want(0.05)
    pace.want(0.2)
    clock.now_s += 0.051
    assert pace.is_due()


async def test_a_full_turn_does_not_wait(clock: Clock) -> None:
    """Under full load nothing is gained by waiting: throughput has no pauses."""
    pace = Pace(interval_s=0.01)
    pace.begin()
    pace.hurry()
    assert pace.is_due()


async def test_waiting_ends_when_a_turn_is_due() -> None:
    """The timer of an interval wakes whoever waits, and so does work that arrives while nothing is wanted."""
    pace = Pace(interval_s=0.02)
    pace.begin()
    waiting = asyncio.create_task(pace.wait())
    await asyncio.sleep(0)
    pace.want()
    await asyncio.wait_for(waiting, 5)
    while not pace.is_due():
        await asyncio.wait_for(pace.wait(), 5)


async def test_waiting_is_bounded_where_asked() -> None:
    """With a bound the caller gets to look up now and then although nothing happens."""
    await asyncio.wait_for(Pace(interval_s=0.01).wait(at_most_s=0.001), 5)
