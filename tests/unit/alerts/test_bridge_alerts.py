"""What the bridge tells people: a stream that stops, and a tail that was lost."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streams import bridge, bridge_stream
from streams.alerts import Alert
from streams.bridge import keep_serving
from streams.bridge_begin import Begun
from streams.bridge_links import Links
from streams.bridge_plan import Start
from streams.bridge_stream import StreamBridge
from streams.errors import ConfigError, Fenced, Gap, Retriable
from streams.settings import Settings

SETTINGS = Settings(cluster="test")


class Stream:
    """Fails with one error after the other."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.messages, self.restarts = list(errors), 0, 0

    async def serve(self) -> None:
        if not self.errors:
            await asyncio.Event().wait()
        raise self.errors.pop(0)


class Alerts:
    def __init__(self) -> None:
        self.told: list[Alert] = []

    def tell(self, alert: Alert) -> None:
        self.told.append(alert)


async def test_a_stream_that_stops_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing messages and a configuration that cannot be are alerts; NATS that is away, or another bridge, is none."""
    monkeypatch.setattr(bridge, "_STOPPED_PAUSE_S", 0.0)
    monkeypatch.setattr(bridge, "_PAUSE_S_MIN", 0.0)
    stream, alerts = (
        Stream(Retriable("away"), Gap("5 to 9 are missing; look"), Fenced("another"), ConfigError("too small; raise it")),
        Alerts(),
    )
    task = asyncio.create_task(keep_serving(stream, "c4", alerts))  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        while stream.restarts < 4:
            await asyncio.sleep(0.001)
    task.cancel()
    told = [(alert.rule, alert.severity, alert.principal, alert.summary) for alert in alerts.told]
    assert told == [
        ("stream.stopped", "critical", "c4", "5 to 9 are missing; look"),
        ("stream.stopped", "critical", "c4", "too small; raise it"),
    ]


@pytest.mark.parametrize("alert", ["", "the stream SM_IN_c4 lost its tail"])
async def test_a_lost_tail_is_told(monkeypatch: pytest.MonkeyPatch, alert: str) -> None:
    """A serving that begins with something to tell tells it; one that goes on where the last one was tells nothing."""

    async def begin(*_: Any, **__: Any) -> Begun:
        return Begun(Start(7, 1, alert), 0)

    monkeypatch.setattr(bridge_stream, "begin", begin)
    links, alerts = Links(SETTINGS), Alerts()
    links.alert = alerts.tell
    stream = StreamBridge(SETTINGS, "c4", None, SimpleNamespace(shrinkages=[]), links)  # type: ignore[arg-type]
    await stream._begin(SimpleNamespace(latest=None))  # type: ignore[arg-type]
    assert [(one.rule, one.principal, one.summary) for one in alerts.told] == ([("stream.lost", "c4", alert)] if alert else [])
