"""When the next turn of an artifact actor begins: at once when it was idle, a moment later under load, so that a transaction carries more.

A transaction costs the same requests, log markers and wake-ups whether it carries one record or a thousand. Without a pause a loaded
worker makes hundreds of small ones a second, and their cost is what everything else then waits for.
"""

from __future__ import annotations

import asyncio

_NEVER = float("inf")


class Pace:
    """Work that arrives says how long it may wait (`want`); turns begin at least `interval_s` apart, unless a full one is at hand."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._began_s = -_NEVER  # the last turn, in the loop's time
        self._wanted_s = _NEVER
        self._is_full = False
        self._news = asyncio.Event()

    def want(self, within_s: float = 0.0) -> None:
        """There is work, which may wait so long for company."""
        wanted_s = asyncio.get_running_loop().time() + within_s
        if wanted_s < self._wanted_s:
            self._wanted_s = wanted_s
            self._news.set()

    def hurry(self) -> None:
        """Waiting would gather nothing: the next turn is full, or there is to be none."""
        self._is_full = True
        self._news.set()

    def begin(self) -> None:
        """A turn takes what there is; whatever it leaves has to be wanted again."""
        self._began_s, self._wanted_s, self._is_full = asyncio.get_running_loop().time(), _NEVER, False

    def is_due(self) -> bool:
        return self._due_s() <= asyncio.get_running_loop().time()

    async def wait(self, at_most_s: float | None = None) -> None:
        """Until a turn is due, or there is news about when it will be, or time is up: the caller looks again."""
        loop = asyncio.get_running_loop()
        self._news.clear()
        until_s = min(self._due_s(), _NEVER if at_most_s is None else loop.time() + at_most_s)
        timer = loop.call_at(until_s, self._news.set) if until_s < _NEVER else None
        try:
            await self._news.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _due_s(self) -> float:
        return -_NEVER if self._is_full else max(self._wanted_s, self._began_s + self._interval_s)
