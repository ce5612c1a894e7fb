"""Alerts of the bridge: telling never waits; the log may be away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from streams import alert_log as module
from streams.alert_log import AlertLog
from streams.alerts import STREAM_LOST, STREAM_STOPPED, Alert, stream_alert
from streams.errors import Retriable
from streams.settings import Settings


def alerts(**changes: Any) -> AlertLog:
    return AlertLog(Settings.model_validate({"cluster": "test", "alerts": changes}))


class Told(list[Alert]):
    """Stands in for the append; fails as often as it is told to."""

    failing = 0

    async def append(self, alert: Alert) -> None:
        if self.failing:
            self.failing -= 1
            raise Retriable("the log is away")
        self.append_now(alert)

    def append_now(self, alert: Alert) -> None:
        super().append(alert)


async def run_until(log: AlertLog, told: list[Alert], count: int) -> None:
    task = asyncio.create_task(log.run())
    async with asyncio.timeout(5):
        while len(told) < count:
            await asyncio.sleep(0.001)
    task.cancel()


async def test_a_log_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told meanwhile comes in order, and nothing twice."""
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    log, told = alerts(), Told()
    told.failing = 3
    monkeypatch.setattr(log, "_append", told.append)
    for principal in ("c4", "c24"):
        log.tell(stream_alert(STREAM_LOST, principal, "lost its tail"))
    await run_until(log, told, 2)
    assert [alert.principal for alert in told] == ["c4", "c24"]


async def test_the_same_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that stays stopped is one alert; another rule or principal is another."""
    log, told = alerts(), Told()
    monkeypatch.setattr(log, "_append", told.append)
    for rule, principal in ((STREAM_STOPPED, "c4"), (STREAM_STOPPED, "c4"), (STREAM_LOST, "c4"), (STREAM_STOPPED, "c8")):
        log.tell(stream_alert(rule, principal, "stopped"))
    await run_until(log, told, 3)
    assert [(alert.rule, alert.principal) for alert in told] == [
        (STREAM_STOPPED, "c4"),
        (STREAM_LOST, "c4"),
        (STREAM_STOPPED, "c8"),
    ]


def test_what_waits_is_bounded() -> None:
    """The oldest is given up, counted, and written to the process's log with its next step."""
    log = alerts(repeat_interval_s=0)
    before = REGISTRY.get_sample_value("syncmaster_alerts_lost_total") or 0
    with capture_logs() as lines:
        for number in range(101):
            log.tell(stream_alert(STREAM_STOPPED, f"p{number}", f"{number} stopped"))
    assert (REGISTRY.get_sample_value("syncmaster_alerts_lost_total") or 0) - before == 1
    assert [(line["event"], line["summary"]) for line in lines] == [("an alert could not be told", "0 stopped")]
