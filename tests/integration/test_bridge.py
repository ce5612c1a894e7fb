"""The bridge on a real nats-server and a real Kafka: what becomes of messages, one by one and many."""

from __future__ import annotations

import json

import pytest

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from streams.nats_streams import stream_name
from streams.partition import partition_of
from streams.settings import Settings
from tests.bridging import bridge_running, bridge_settings, event, ingresses, publish, read_events, wait_taken
from tests.brokers import connected
from tests.checkers import check_first_occurrences_in_stream_order, check_nothing_missing

pytestmark = pytest.mark.connected

STREAM = stream_name("c24")


@pytest.fixture(name="settings")
def _settings(orbit_settings: Settings, fresh_nats: NatsServer, kafka: Kafka, topic_prefix: str) -> Settings:
    return bridge_settings(orbit_settings, fresh_nats, kafka, topic_prefix)


async def test_thousands_of_events_arrive_once_and_in_order(settings: Settings, fresh_nats: NatsServer) -> None:
    """Everything published is in the log, once, under its artifact's key, in stream order."""
    async with bridge_running(settings) as bridge, connected(fresh_nats, settings, "c24") as client:
        await wait_taken(bridge, "c24", 0)
        await publish(client, "c24", (event(number) for number in range(3000)))
        await wait_taken(bridge, "c24", 3000)
    records = await read_events(settings)
    log = ingresses(records)
    (incarnation,) = {ingress.incarnation for found in log.values() for ingress in found}
    check_nothing_missing(log, STREAM, incarnation, range(1, 3001))
    check_first_occurrences_in_stream_order(log)
    assert sum(len(found) for found in records.values()) == 3000
    for partition, found in records.items():
        for record in found:
            number = json.loads(record.value)["id"]
            assert record.key == f"chart/chart-{int(number) % 10}".encode()
            assert partition == partition_of(record.key, settings.kafka.partitions)
