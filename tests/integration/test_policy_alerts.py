"""An alert of a policy, all the way: from an event over NATS to an Alertmanager, through real processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.api import Api
from gateway.local.kafka import Kafka
from tests.alertmanagers import alertmanager
from tests.harness import Cluster, eventually
from tests.loads import CHARTS, chart, message

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

FORWARD = {"name": "charts-go-forward", "kind": "version_forward", "action": "alert", "artifacts": ["chart/*"]}


async def test_an_alert_of_a_policy_reaches_alertmanager(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> None:
    """Versions that go back are accepted and told: Alertmanager gets one of two alike, with the artifact and the next step, the list has both."""
    async with alertmanager() as stand_in:
        changes = {"policies": [FORWARD], "alerts": {"alertmanager": {"url": stand_in.url}}}
        async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix, components=("c8-portal",), changes=changes) as cluster:
            versions = ("2.0.0", "1.0.0", "1.1.0")
            sent = await cluster.publish(CHARTS, [message(chart("argo", version, version)) for version in versions])
            await cluster.settled(sent)

            async def told() -> bool:
                return bool(stand_in.alerts)

            await eventually(told, 60)
            api = Api(cluster.url("gateway"), cluster.key()["Authorization"].partition(" ")[2])

            async def listed() -> list[dict[str, Any]]:
                found = await asyncio.to_thread(lambda: list(api.items("/v1/alerts")))
                return found if len(found) == 2 else []

            items = await eventually(listed, 30)
    (alert,) = stand_in.alerts
    assert alert["labels"] | {"cluster": ""} == {
        "alertname": "charts-go-forward",
        "severity": "warning",
        "cluster": "",
        "source": "syncmaster",
        "artifact": "chart/argo",
        "principal": CHARTS,
    }
    assert alert["annotations"]["next_step"]
    assert alert["annotations"]["event_id"] == "1.0.0"
    assert [(one["rule"], one["artifact"], one["labels"]["event_id"]) for one in items] == [
        ("charts-go-forward", "chart/argo", "1.1.0"),
        ("charts-go-forward", "chart/argo", "1.0.0"),
    ]
