"""Brings alerts from the log to one receiver, at least once: what it has, and only that, is committed. One task per receiver, so that one
that is away keeps no other waiting; its alerts wait in the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from gateway.alerting.gate import Gate
from gateway.alerting.receivers import Receiver
from streams import metrics
from streams.alert_reader import AlertReader
from streams.alerts import Alert, decode_alert
from streams.errors import Rejected, Retriable
from streams.logs import AWAY
from streams.settings import Settings

_log = structlog.get_logger(__name__)
_POLL_S = 1.0
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.5, 30.0


class Forwarder:
    """Start it, close it. `make_reader` gives a member of the receiver's consumer group, not yet started."""

    def __init__(self, settings: Settings, receiver: Receiver, make_reader: Callable[[], AlertReader] | None = None) -> None:
        self._settings = settings.alerts
        self._receiver = receiver
        self._make_reader = make_reader or (lambda: AlertReader(settings.kafka, receiver.name))
        self._gate = self._new_gate()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"alerts-{self._receiver.name}")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._receiver.aclose()

    async def _run(self) -> None:
        while True:
            reader = self._make_reader()
            try:
                await reader.start()
                await self._forward(reader)
            except Retriable as exc:
                AWAY.warning(_log, "kafka", "alerts cannot be read; trying again", error=str(exc))
                self._gate = self._new_gate() if self._gate.owes else self._gate  # what it owes is read again
            except Exception:
                _log.exception("alerts are not forwarded; trying again. Please report this", receiver=self._receiver.name)
                self._gate = self._new_gate()
            finally:
                await reader.aclose()
            await asyncio.sleep(_PAUSE_S_MIN)

    async def _forward(self, reader: AlertReader) -> None:
        """What was suppressed and not told of yet is not committed either: who comes after us reads it again."""
        gate = self._gate
        while True:
            records = await reader.poll(_POLL_S)
            alerts = self._admitted(gate, records)
            if (summary := gate.due(time.monotonic(), int(time.time() * 1000))) is not None:
                alerts.append(summary)
            if alerts:
                await self._send(alerts)
            if (records or alerts) and not gate.owes:
                await reader.commit()

    def _new_gate(self) -> Gate:
        return Gate(repeat_interval_s=self._settings.repeat_interval_s, per_minute_max=self._settings.per_minute_max)

    def _admitted(self, gate: Gate, records: Sequence[Any]) -> list[Alert]:
        alerts = []
        for record in records:
            try:
                alert = gate.admit(decode_alert(record.value), time.monotonic())
            except msgspec.DecodeError:
                _log.warning("a record of the alerts topic is none of ours", offset=record.offset)
                continue
            if alert is not None:
                alerts.append(alert)
            else:
                self._count("suppressed")
        return alerts

    async def _send(self, alerts: list[Alert]) -> None:
        """Until the receiver has them. Of those that are refused together, each is tried alone, and the bad ones given up."""
        pause_s = _PAUSE_S_MIN
        while True:
            try:
                await self._receiver.send(alerts)
                return self._count("sent", len(alerts))
            except Retriable as exc:
                self._count("failed", len(alerts))
                AWAY.warning(_log, f"alerts-{self._receiver.name}", "alerts wait for their receiver", error=str(exc))
            except Rejected as exc:
                if len(alerts) == 1:
                    self._count("rejected")
                    return _log.error(
                        "an alert is refused for good", receiver=self._receiver.name, rule=alerts[0].rule, error=str(exc)
                    )
                for alert in alerts:
                    await self._send([alert])
                return None
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    def _count(self, outcome: str, count: int = 1) -> None:
        metrics.ALERTS.labels(self._receiver.name, outcome).inc(count)
