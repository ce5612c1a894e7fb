"""The last alerts, in memory: every gateway reads the end of [alerts] for itself. The topic keeps more of them, as long as events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import structlog

from streams.alerts import Alert, decode_alert
from streams.errors import Retriable
from streams.log_reader import TP, LogReader
from streams.logs import AWAY
from streams.settings import Kafka
from streams.topics import Topics

_log = structlog.get_logger(__name__)
KEPT_MAX = 1000
_PAUSE_S = 1.0


class RecentAlerts:
    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._tp = TP(Topics(kafka.topic_prefix).alerts, 0)
        self._alerts: deque[tuple[int, Alert]] = deque(maxlen=KEPT_MAX)
        self._task: asyncio.Task[None] | None = None
        self.ready = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="recent-alerts")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def newest_first(self, before: int | None = None) -> Iterator[tuple[int, Alert]]:
        """(offset, alert) below the offset `before`."""
        for offset, alert in reversed(self._alerts):
            if before is None or offset < before:
                yield offset, alert

    def take(self, records: Iterable[Any]) -> None:
        for record in records:
            try:
                self._alerts.append((record.offset, decode_alert(record.value)))
            except msgspec.DecodeError:
                _log.warning("a record of the alerts topic is none of ours", offset=record.offset)

    async def _run(self) -> None:
        while True:
            reader = LogReader(self._kafka.bootstrap, request_timeout_s=self._kafka.request_timeout_s)
            try:
                await reader.start()
                await self._follow(reader)
            except Retriable as exc:
                AWAY.warning(_log, "kafka", "the alerts topic cannot be read; trying again", error=str(exc))
            finally:
                await reader.aclose()
            await asyncio.sleep(_PAUSE_S)

    async def _follow(self, reader: LogReader) -> None:
        end = (await reader.ends([self._tp]))[self._tp]
        begin = max((await reader.beginnings([self._tp]))[self._tp], end - KEPT_MAX)
        reader.assign({self._tp: begin})
        self._alerts.clear()
        while True:
            self.ready = self.ready or await reader.position(self._tp) >= end
            for fetched in (await reader.poll(_PAUSE_S)).values():
                self.take(fetched.records)
