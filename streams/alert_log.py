"""Appends alerts of whoever stands outside of the engine's turns: the bridge. Telling never waits and never fails; what cannot be told is logged."""

from __future__ import annotations

import asyncio
import time
from collections import deque

import structlog

from streams import metrics
from streams.alerts import Alert, alert_record
from streams.errors import Retriable
from streams.log_append import LogAppender
from streams.logs import AWAY
from streams.settings import Settings
from streams.topics import Topics

_log = structlog.get_logger(__name__)
_WAITING_MAX = 100
_TOLD_MAX = 1000
_AGAIN_S = 5.0


class AlertLog:
    """One alert at a time, each by a producer of its own: they are rare. What waits for the log is bounded, and the oldest is given up."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._topic = Topics(settings.kafka.topic_prefix).alerts
        self._repeat_s = settings.alerts.repeat_interval_s
        self._told: dict[tuple[str, ...], float] = {}
        self._waiting: deque[Alert] = deque()
        self._news = asyncio.Event()

    def tell(self, alert: Alert) -> None:
        """The same about the same is told once within the repeat interval: a stream that is stopped says so every 30 s."""
        now_s, same = time.monotonic(), alert.about
        if now_s - self._told.get(same, float("-inf")) < self._repeat_s:
            return
        if len(self._told) >= _TOLD_MAX:
            self._told.clear()
        self._told[same] = now_s
        if len(self._waiting) >= _WAITING_MAX:
            self._give_up(self._waiting.popleft())
        self._waiting.append(alert)
        self._news.set()

    async def run(self) -> None:
        """For ever; beside what tells."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                try:
                    await self._append(self._waiting[0])
                    self._waiting.popleft()
                except Retriable as exc:
                    AWAY.warning(_log, "kafka", "an alert waits for the log", error=str(exc), waiting=len(self._waiting))
                    await asyncio.sleep(_AGAIN_S)

    async def _append(self, alert: Alert) -> None:
        appender = LogAppender(self._kafka, self._topic)
        try:
            await appender.start()
            key, value, headers = alert_record(alert)
            assert key is not None
            assert value is not None
            batch = appender.new_batch()
            batch.append(timestamp=alert.at_ms, key=key, value=value, headers=headers)
            await appender.append({0: [batch]})
        finally:
            await appender.abort()

    def _give_up(self, alert: Alert) -> None:
        metrics.ALERTS_LOST.inc()
        _log.error("an alert could not be told", rule=alert.rule, summary=alert.summary, next_step=alert.next_step)
