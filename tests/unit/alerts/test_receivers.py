"""What receivers are sent, and what is made of their answers. Alertmanager is a stand-in that judges by Alertmanager's own description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.alerting.receivers import AlertmanagerReceiver, NatsReceiver, receivers
from streams.alerts import Alert, decode_alert
from streams.errors import Rejected, Retriable
from streams.publisher import Publisher
from streams.settings import Settings
from tests.alertmanagers import Alertmanager, alertmanager

AT_MS = 1_795_000_000_123


def alert(**fields: Any) -> Alert:
    given = {"rule": "freeze", "artifact": "chart/a", "component": "c20", "principal": "c24"} | fields
    return Alert(id="a-1", severity="warning", summary="told", next_step="look", at_ms=AT_MS, **given)


@asynccontextmanager
async def receiving(**config: Any) -> AsyncIterator[tuple[AlertmanagerReceiver, Alertmanager]]:
    async with alertmanager() as stand_in:
        alerts = {"alertmanager": {"url": stand_in.url} | config, "gateway_url": "https://sm.example/", "repeat_interval_s": 60}
        settings = Settings.model_validate({"cluster": "east", "alerts": alerts})
        assert settings.alerts.alertmanager is not None
        receiver = AlertmanagerReceiver(settings, settings.alerts.alertmanager)
        try:
            yield receiver, stand_in
        finally:
            await receiver.aclose()


async def test_an_alert_as_alertmanager_wants_it() -> None:
    """What it is about are labels, what to do and what differs each time are annotations, and it ends when the next would be sent."""
    async with receiving() as (receiver, stand_in):
        await receiver.send([alert(labels={"audit_id": "events-0-7"})])
    assert stand_in.alerts == [
        {
            "labels": {
                "alertname": "freeze",
                "severity": "warning",
                "cluster": "east",
                "source": "syncmaster",
                "artifact": "chart/a",
                "component": "c20",
                "principal": "c24",
            },
            "annotations": {"summary": "told", "next_step": "look", "id": "a-1", "audit_id": "events-0-7"},
            "startsAt": "2026-11-18T11:06:40.123Z",
            "endsAt": "2026-11-18T11:07:40.123Z",
            "generatorURL": "https://sm.example/v1/alerts?rule=freeze",
        }
    ]


async def test_labels_that_are_empty_are_left_out() -> None:
    """An alert about a stream has no artifact; Alertmanager takes no empty labels."""
    async with receiving() as (receiver, stand_in):
        await receiver.send([alert(rule="stream.stopped", artifact="", component="")])
    assert stand_in.alerts[0]["labels"].keys() == {"alertname", "severity", "cluster", "source", "principal"}


async def test_an_alert_cannot_pass_for_another() -> None:
    """What a policy adds changes neither what it is nor what is told of it."""
    async with receiving() as (receiver, stand_in):
        await receiver.send([alert(labels={"severity": "critical", "alertname": "other", "summary": "all is well"})])
    (sent,) = stand_in.alerts
    assert (sent["labels"]["severity"], sent["labels"]["alertname"], sent["annotations"]["summary"]) == (
        "warning",
        "freeze",
        "told",
    )


@pytest.mark.parametrize(
    ("status", "error"), [(400, Rejected), (422, Rejected), (401, Retriable), (302, Retriable), (503, Retriable)]
)
async def test_answers(status: int, error: type[Exception]) -> None:
    """Only what says that the request itself is wrong is for good; the rest may be mended on the other side."""
    async with receiving() as (receiver, stand_in):
        stand_in.answers = [status]
        with pytest.raises(error, match=str(status)):
            await receiver.send([alert()])


async def test_nobody_there() -> None:
    """An Alertmanager that cannot be reached is waited for."""
    async with receiving() as (receiver, _):
        receiver._url = "http://127.0.0.1:9/api/v2/alerts"
        with pytest.raises(Retriable, match="cannot be reached"):
            await receiver.send([alert()])


async def test_the_bearer_is_sent_and_never_told(tmp_path: Path) -> None:
    """It goes into the header, and into no error."""
    (tmp_path / "token").write_text("s3cret-token-of-the-alertmanager")
    async with receiving(bearer={"file": str(tmp_path / "token")}) as (receiver, stand_in):
        stand_in.answers = [403]
        with pytest.raises(Retriable) as failed:
            await receiver.send([alert()])
        (tmp_path / "token").unlink()
        with pytest.raises(Retriable, match="cannot read the secret file") as missing:
            await receiver.send([alert()])
    assert stand_in.requests == [(403, "Bearer s3cret-token-of-the-alertmanager")]
    assert "s3cret" not in str(failed.value) + str(missing.value) + repr(receiver.__dict__)


class FakePublisher:
    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    async def announce(self, messages: Any) -> None:
        self.told += [(subject, decode_alert(payload)) for subject, payload in messages]


async def test_nats_gets_one_subject_per_rule() -> None:
    """The alert is the payload, as it is in the log."""
    publisher = FakePublisher()
    await NatsReceiver("ops.alerts", publisher).send([alert(), alert(rule="stream.lost")])  # type: ignore[arg-type]
    assert publisher.told == [("ops.alerts.freeze", alert()), ("ops.alerts.stream.lost", alert(rule="stream.lost"))]
    assert msgspec.json.encode(alert())


async def test_those_that_are_configured() -> None:
    """NATS unless it is switched off, Alertmanager if it has an address."""
    publisher = Publisher(Settings(cluster="east").nats)
    found = [
        [one.name for one in receivers(Settings.model_validate({"cluster": "east", "alerts": alerts}), publisher)]
        for alerts in ({}, {"nats": None}, {"alertmanager": {"url": "http://am:9093"}})
    ]
    assert found == [["nats"], [], ["nats", "alertmanager"]]
