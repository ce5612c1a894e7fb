"""From the consumer's thread to the worker's loop: what was fetched goes over as it comes, and nobody has to ask for it.

Faust's loop asks its consumer thread for records, waits, deals them out and asks again. Each of these is a round of a loop that is busy with
other things, so an event was five of them on its way, and the thread had nothing to do in between. Here the thread is asked once. Lots wait
in a queue of the worker's loop, a few at most: a loop that is behind gets more records at a time then, not more lots.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from faust.types import TP

Lot = Mapping[TP, list[Any]]

#: One is being dealt out, one comes next; the others are for a round of the loop that takes longer.
LOTS_MAX = 4
_LOOK_S = 1.0


class Pump:
    """One run. `run` is the thread's side, everything else the worker's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lots: asyncio.Queue[Lot | None] = asyncio.Queue()
        self._given = 0  # counted by the thread alone
        self._taken = 0  # counted by the loop alone
        self._has_ended = False
        self._make_room: Callable[[], None] | None = None  # while the thread waits for some

    async def run(self, fetch: Callable[[], Awaitable[Lot]], flows: Callable[[], bool]) -> None:
        """Until nothing `flows` any more, or `end`. `fetch` returns after a second at most. Raises what it raises."""
        while flows() and not self._has_ended:
            lot = await fetch()
            if lot and flows():
                self._given += 1
                self._loop.call_soon_threadsafe(self._lots.put_nowait, lot)
                await self._wait_room()

    async def _wait_room(self) -> None:
        if not self._is_full:
            return
        room, thread_loop = asyncio.Event(), asyncio.get_running_loop()

        def make_room() -> None:
            thread_loop.call_soon_threadsafe(room.set)

        self._make_room = make_room
        while self._is_full and not self._has_ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await room.wait()
        self._make_room = None

    @property
    def _is_full(self) -> bool:
        return self._given - self._taken >= LOTS_MAX

    def end(self) -> None:
        """No further lots; those that wait are still handed out."""
        self._has_ended = True
        self._lots.put_nowait(None)

    async def lots(self) -> AsyncIterator[Lot]:
        """In the order in which they were fetched, until `end`."""
        while (lot := await self._lots.get()) is not None:
            yield lot
            self._taken += 1
            if (make_room := self._make_room) is not None:
                make_room()
