"""Alerts on a real Kafka and a real nats-server: from the log to those who may hear them, and to nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.alerting.forwarder import Forwarder
from gateway.alerting.receivers import receivers
from gateway.alerting.recent import RecentAlerts
from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from streams.alert_log import AlertLog
from streams.alerts import STREAM_LOST, STREAM_STOPPED, decode_alert, stream_alert
from streams.publisher import Publisher
from streams.settings import Settings
from streams.topic_admin import ensure_topics
from tests.alertmanagers import Alertmanager, alertmanager
from tests.brokers import connected, orbit

pytestmark = pytest.mark.connected


async def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        await asyncio.sleep(0.02)


class Cluster:
    """An Alertmanager, a nats-server, a log; and gateways, as far as alerts go."""

    def __init__(self, settings: Settings, nats: NatsServer, stand_in: Alertmanager, stack: AsyncExitStack) -> None:
        self.settings, self.nats, self.alertmanager, self._stack = settings, nats, stand_in, stack
        self.log = AlertLog(settings)

    async def gateway(self) -> list[Forwarder]:
        publisher = Publisher(self.settings.nats)
        await publisher.start()
        self._stack.push_async_callback(publisher.aclose)
        forwarders = [Forwarder(self.settings, receiver) for receiver in receivers(self.settings, publisher)]
        for forwarder in forwarders:
            await forwarder.start()
            self._stack.push_async_callback(forwarder.aclose)
        return forwarders

    @property
    def told(self) -> list[str]:
        return [alert["labels"]["principal"] for alert in self.alertmanager.alerts]


@pytest.fixture
async def cluster(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        stand_in = await stack.enter_async_context(alertmanager())
        alerts = {"alertmanager": {"url": stand_in.url}, "nats": {"subscribers": ["operator"]}}
        log = {"bootstrap": kafka.bootstrap, "topic_prefix": topic_prefix, "partitions": 2}
        settings = orbit(tmp_path, kafka=log, alerts=alerts)
        server = NatsServer(tmp_path / "nats", settings)
        server.start()
        stack.callback(server.kill9)
        settings = settings.model_copy(update={"nats": settings.nats.model_copy(update={"url": server.url})})
        await ensure_topics(settings)
        made = Cluster(settings, server, stand_in, stack)
        task = asyncio.create_task(made.log.run())
        stack.callback(task.cancel)
        yield made


async def test_alerts_reach_those_who_may_hear_them(cluster: Cluster) -> None:
    """What the bridge tells comes to Alertmanager, to the operator over NATS, and into the list of every gateway; to c24 it does not."""
    async with (
        connected(cluster.nats, cluster.settings, "operator") as operator,
        connected(cluster.nats, cluster.settings, "c24") as other,
    ):
        heard = await operator.subscribe("sm.alerts.>")
        overheard = await other.subscribe("sm.alerts.>")
        await asyncio.gather(operator.flush(), other.flush())
        cluster.log.tell(stream_alert(STREAM_STOPPED, "c4", "the stream SM_IN_c4 misses messages"))
        await cluster.gateway()
        message = await heard.next_msg(timeout=30)
        assert (message.subject, decode_alert(message.data).summary) == (
            "sm.alerts.stream.stopped",
            "the stream SM_IN_c4 misses messages",
        )
        await wait_for(lambda: cluster.told == ["c4"])
        assert overheard.pending_msgs == 0
        assert "permissions violation" in str(other.complaints).lower()
    recent = RecentAlerts(cluster.settings.kafka)
    await recent.start()
    await wait_for(lambda: recent.ready)
    assert [alert.principal for _, alert in recent.newest_first()] == ["c4"]
    await recent.aclose()


async def test_nobody_else_can_tell_alerts(cluster: Cluster) -> None:
    """A publish under the subject of alerts is refused to principals, those who may hear them included."""
    for user in ("c24", "operator"):
        async with connected(cluster.nats, cluster.settings, user) as client:
            await client.publish("sm.alerts.freeze", b"forged")
            await client.flush()
            await wait_for(lambda client=client: bool(client.complaints))  # type: ignore[misc]
            assert "permissions violation for publish" in str(client.complaints).lower()


async def test_one_gateway_forwards_and_another_goes_on(cluster: Cluster) -> None:
    """Two gateways send each alert once; when the one that forwards ends, the other takes over where it was."""
    first = await cluster.gateway()
    await cluster.gateway()
    cluster.log.tell(stream_alert(STREAM_LOST, "c4", "lost"))
    cluster.log.tell(stream_alert(STREAM_LOST, "c8", "lost"))
    await wait_for(lambda: len(cluster.told) == 2)
    for forwarder in first:
        await forwarder.aclose()
    cluster.log.tell(stream_alert(STREAM_LOST, "c24", "lost"))
    await wait_for(lambda: len(cluster.told) == 3)
    assert cluster.told == ["c4", "c8", "c24"]


async def test_an_alertmanager_that_is_away_is_waited_for(cluster: Cluster) -> None:
    """While it refuses, its alerts stay in the log; a gateway that ends meanwhile leaves them to the next."""
    cluster.alertmanager.answers = [503] * 1000
    forwarders = await cluster.gateway()
    cluster.log.tell(stream_alert(STREAM_LOST, "c4", "lost"))
    await wait_for(lambda: len(cluster.alertmanager.requests) >= 2)
    for forwarder in forwarders:
        await forwarder.aclose()
    cluster.alertmanager.answers = []
    await cluster.gateway()
    await wait_for(lambda: cluster.told == ["c4"])


async def test_a_gateway_that_is_there_before_the_topic(cluster: Cluster) -> None:
    """At a first start the gateway may be quicker than whoever makes the topics; it forwards all the same."""
    prefix = f"{cluster.settings.kafka.topic_prefix}-first"
    kafka = cluster.settings.kafka.model_copy(update={"topic_prefix": prefix})
    cluster.settings = cluster.settings.model_copy(update={"kafka": kafka})
    await cluster.gateway()
    await asyncio.sleep(1.0)  # it has looked for the topic, and found none
    await ensure_topics(cluster.settings)
    log = AlertLog(cluster.settings)
    log.tell(stream_alert(STREAM_LOST, "c4", "lost"))
    task = asyncio.create_task(log.run())
    await wait_for(lambda: cluster.told == ["c4"])
    task.cancel()
