"""Follows [control] into memory: the operations that any gateway can be asked about. Writing: `command_log.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from streams.commands import OPERATION_PREFIX, Operation, operation_key
from streams.errors import Retriable
from streams.log_reader import TP, LogReader
from streams.settings import Kafka
from streams.topics import Topics

_log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(Operation).decode
#: Only the newest are kept here; whoever asks about an older one gets "unknown".
OPERATIONS_MAX = 10_000


class ControlReader:
    """Reads the topic from its beginning at every start: it is compacted and small. `ready` once its end was reached."""

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._tp = TP(Topics(settings.topic_prefix).control, 0)
        self._operations: dict[bytes, Operation] = {}
        self._task: asyncio.Task[None] | None = None
        self.ready = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="control-reader")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def operation(self, operation_id: str) -> Operation | None:
        return self._operations.get(operation_key(operation_id))

    def superfluous(self) -> str | None:
        """The oldest operation, once there is no room for one more."""
        return next(iter(self._operations.values())).id if len(self._operations) >= OPERATIONS_MAX else None

    def take(self, records: Sequence[Any]) -> None:
        """Apply records in log order. What is not an operation is somebody else's."""
        for record in records:
            if not record.key or not record.key.startswith(OPERATION_PREFIX):
                continue
            self._operations.pop(record.key, None)
            if record.value is not None:
                self._remember(record.key, record.value)

    def _remember(self, key: bytes, value: bytes) -> None:
        try:
            self._operations[key] = _decode(value)
        except msgspec.MsgspecError as exc:
            _log.warning("an operation in the control topic is not understood", key=key.decode(), error=str(exc))
        if len(self._operations) > OPERATIONS_MAX:
            del self._operations[next(iter(self._operations))]

    async def _run(self) -> None:
        pause_s = 0.1
        while True:
            reader = LogReader(self._settings.bootstrap, request_timeout_s=self._settings.request_timeout_s)
            try:
                await reader.start()
                pause_s = 0.1
                await self._follow(reader)
            except Retriable as exc:
                _log.warning("the control topic cannot be read; trying again", error=str(exc), pause_s=pause_s)
            finally:
                await reader.aclose()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 10.0)

    async def _follow(self, reader: LogReader) -> None:
        end = (await reader.ends([self._tp]))[self._tp]
        reader.assign({self._tp: (await reader.beginnings([self._tp]))[self._tp]})
        while True:
            for fetched in (await reader.poll(1.0)).values():
                self.take(fetched.records)
            self.ready = self.ready or await reader.position(self._tp) >= end
