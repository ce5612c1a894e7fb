"""Who serves a stream: a lease in a bucket, renewed while its holder lives. Correctness does not rest on it, order and peace do.

The holder counts from *before* it asked, and stops a sixth early; whoever waits counts from when it first *saw* a value. Both use their own
monotonic clock, so the two never hold it at once unless a process is stopped between looking and sending; what it then sends
repeats what the other sends too, and the marks of the engine drop it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from streams.errors import Fenced, Retriable
from streams.nats_cell import Cell, Entry

_SAFETY = 1 / 6


class Holder(msgspec.Struct, frozen=True):
    """`turn` makes each renewal's value unlike the one before."""

    instance: str
    turn: int


class Watch:
    """Pure: has a value stood still for the time to live?"""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._seen: tuple[int, float] = (-1, 0.0)

    def is_free(self, entry: Entry, now_s: float) -> bool:
        if entry.value is None:
            return True
        if entry.revision != self._seen[0]:
            self._seen = (entry.revision, now_s)
        return now_s - self._seen[1] >= self._ttl_s


class Lease:
    def __init__(self, cell: Cell, instance: str, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cell = cell
        self._instance = instance
        self._ttl_s = ttl_s
        self._clock = clock
        self._turn = 0
        self._revision = 0
        self._valid_until = 0.0

    async def acquire(self) -> None:
        """Wait until the lease is ours. Raises Retriable while NATS is away."""
        watch = Watch(self._ttl_s)
        while True:
            entry = await self._cell.read()
            if watch.is_free(entry, self._clock()):
                try:
                    return await self._take(entry.revision)
                except Fenced:  # another one was quicker
                    continue
            await asyncio.sleep(self._ttl_s / 6)

    async def hold(self) -> None:
        """Renew every third of the time to live, for ever. Raises Fenced when it is lost."""
        while True:
            await asyncio.sleep(self._ttl_s / 3)
            try:
                await self._take(self._revision)
            except Retriable:
                self.check()  # NATS is away: it may be back before the lease has run out

    def check(self) -> None:
        """To be called before anything is sent. Raises Fenced when the lease was not renewed in time."""
        if self._clock() >= self._valid_until:
            raise Fenced("the lease was not renewed in time; another bridge may serve the stream now")

    async def release(self) -> None:
        """Let the next one have it at once."""
        self._valid_until = 0.0
        await self._cell.clear(self._revision)

    async def _take(self, revision: int) -> None:
        asked_at = self._clock()
        self._turn += 1
        value = msgspec.json.encode(Holder(self._instance, self._turn))
        self._revision = await self._cell.write(value, revision)
        self._valid_until = asked_at + self._ttl_s * (1 - _SAFETY)
