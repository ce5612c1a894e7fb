"""Follows [control] into memory, in gateways and workers: operations, holds, API keys, and how old this knowledge is. Writing: `control_log.py`.

Age is what a lease is made of. A hold is in force because whoever cannot show that it has read [control] to its end lately does nothing:
`fresh_at` is a moment before the end was asked for, and everything up to that end has been taken since. So whatever was readable at
`fresh_at` is known here; a reader that is paused, cut off or slow only grows old. Readable is later than committed: a
transaction's markers follow its commit, and so whoever promises something waits for `wait_applied` on a reader of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from streams.commands import Operation
from streams.control import ApiKey, Contents, Hold
from streams.errors import Retriable
from streams.log_reader import TP, LogReader
from streams.logs import AWAY
from streams.settings import Kafka
from streams.topics import Topics

_log = structlog.get_logger(__name__)
#: Between two questions where the end is; a third of the shortest lease that is asked for.
_ASK_S = 0.2
#: A question that is not answered by then is asked on a new connection.
_ANSWER_S_MAX = 5.0
#: While this process does not know what holds are in effect, it delivers nothing.
_PAUSE_S_MAX = 1.0


class ControlReader:
    """Reads the topic from its beginning at every connection: it is compacted and small. `ready` once its end was reached."""

    def __init__(
        self,
        settings: Kafka,
        *,
        make_reader: Callable[[], LogReader] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_reader = make_reader or partial(
            LogReader, settings.bootstrap, request_timeout_s=min(settings.request_timeout_s, _ANSWER_S_MAX)
        )
        self._clock_s = clock_s
        self._tp = TP(Topics(settings.topic_prefix).control, 0)
        self._contents = Contents()
        self._position = 0
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self.ready = False
        #: On the monotonic clock; everything that was readable then is known. Far in the past until `ready`.
        self.fresh_at = float("-inf")
        #: Called without arguments whenever holds or keys may have changed. Must not block and must not raise.
        self.on_change: list[Callable[[], None]] = []

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="control-reader")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- what it says --------------------------------------------------------------------------------------------------------

    @property
    def holds(self) -> Mapping[str, Hold]:
        """In effect, by id, the oldest first."""
        return self._contents.holds

    @property
    def keys(self) -> Mapping[str, ApiKey]:
        """By id, those that are revoked and expired too."""
        return self._contents.keys

    def operation(self, operation_id: str) -> Operation | None:
        return self._contents.operations.get(operation_id)

    def superfluous(self) -> str | None:
        """The oldest operation, once there is no room for one more."""
        return self._contents.superfluous_operation()

    def superfluous_key(self, now_ms: int) -> str | None:
        """The oldest key that is good for nothing, once there is no room for one more."""
        return self._contents.superfluous_key(now_ms)

    # -- how old that is -----------------------------------------------------------------------------------------------------

    def is_fresh(self, lease_s: float) -> bool:
        """Whether everything is known that could be read `lease_s` ago."""
        return self._clock_s() - self.fresh_at < lease_s

    async def wait_fresh(self, lease_s: float) -> None:
        """Until it is; without end while the log is away."""
        while not self.is_fresh(lease_s):
            await self._moved.wait()

    async def wait_applied(self, offset: int, timeout_s: float) -> bool:
        """Until the record at `offset` is known here, and so can be read by everybody. False when it is not within that time."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._position <= offset:
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    # -- following -----------------------------------------------------------------------------------------------------------

    def take(self, records: Sequence[Any]) -> None:
        """Apply records in log order."""
        if self._contents.take(records):
            self._tell()

    def _tell(self) -> None:
        for callback in self.on_change:
            callback()

    async def _run(self) -> None:
        pause_s = 0.1
        while True:
            reader = self._make_reader()
            try:
                await reader.start()
                await self._begin(reader)
                pause_s = 0.1
                await self._follow(reader)
            except Retriable as exc:
                AWAY.warning(_log, "kafka", "the control topic cannot be read; trying again", error=str(exc))
            except Exception:
                _log.exception(
                    "the control topic cannot be read, for a reason that nobody foresaw; trying again. Please report this"
                )
            finally:
                await reader.aclose()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    async def _begin(self, reader: LogReader) -> None:
        """Everything anew, beside what was known: a tombstone that was compacted away meanwhile would not be missed otherwise."""
        contents, asked_at = Contents(), self._clock_s()
        end = await self._end(reader)
        reader.assign({self._tp: (await reader.beginnings([self._tp]))[self._tp]})
        while await reader.position(self._tp) < end:
            for fetched in (await reader.poll(1.0)).values():
                contents.take(fetched.records)
        self._contents = contents
        self._tell()
        await self._reached(reader, asked_at)
        self.ready = True

    async def _follow(self, reader: LogReader) -> None:
        while True:
            await self._poll(reader, _ASK_S)
            asked_at = self._clock_s()
            end = await self._end(reader)
            while await reader.position(self._tp) < end:
                await self._poll(reader, 1.0)
            await self._reached(reader, asked_at)

    async def _poll(self, reader: LogReader, wait_s: float) -> None:
        for fetched in (await reader.poll(wait_s)).values():
            self.take(fetched.records)

    async def _end(self, reader: LogReader) -> int:
        return (await reader.ends([self._tp]))[self._tp]

    async def _reached(self, reader: LogReader, asked_at: float) -> None:
        self._position, self.fresh_at = await reader.position(self._tp), asked_at
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
