"""The bridge on a real nats-server and a real Kafka: what becomes of messages, one by one and many."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.errors import APIError
from structlog.testing import capture_logs

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from streams.nats_streams import stream_name, stream_state
from streams.nats_sync import tell_about_sync
from streams.partition import partition_of
from streams.settings import Settings
from tests.bridging import (
    bridge_running,
    bridge_settings,
    event,
    eventually,
    ingresses,
    publish,
    read_events,
    stored_checkpoint,
    wait_taken,
)
from tests.brokers import connected
from tests.checkers import check_first_occurrences_in_stream_order, check_nothing_missing

pytestmark = pytest.mark.connected

STREAM = stream_name("c24")


@pytest.fixture(name="settings")
def _settings(orbit_settings: Settings, fresh_nats: NatsServer, kafka: Kafka, topic_prefix: str) -> Settings:
    return bridge_settings(orbit_settings, fresh_nats, kafka, topic_prefix)


def by_sequence(records: dict[int, list[Any]]) -> dict[int, list[Any]]:
    """Records of each sequence, in the order of their index; there is one stream."""
    found: dict[int, list[tuple[int, Any]]] = {}
    for partition, ingress_list in ingresses(records).items():
        for ingress, record in zip(ingress_list, records[partition], strict=True):
            found.setdefault(ingress.sequence, []).append((ingress.index, record))
    return {sequence: [record for _, record in sorted(pairs, key=lambda pair: pair[0])] for sequence, pairs in found.items()}


async def test_thousands_of_events_arrive_once_and_in_order(settings: Settings, fresh_nats: NatsServer) -> None:
    """Everything published is in the log, once, under its artifact's key, in stream order; the checkpoint tells so."""
    async with (
        bridge_running(settings) as bridge,
        connected(fresh_nats, settings, "c24") as client,
        connected(fresh_nats, settings, "syncmaster-bridge") as admin,
    ):
        await wait_taken(bridge, "c24", 0)
        await publish(client, "c24", (event(number) for number in range(3000)))
        await wait_taken(bridge, "c24", 3000)

        async def written() -> bool:
            checkpoint = await stored_checkpoint(admin, STREAM)
            return checkpoint is not None and checkpoint.sequence == 3000

        await eventually(written)
        checkpoint = await stored_checkpoint(admin, STREAM)
    records = await read_events(settings)
    log = ingresses(records)
    assert checkpoint is not None
    check_nothing_missing(log, STREAM, checkpoint.incarnation, range(1, 3001))
    check_first_occurrences_in_stream_order(log)
    assert checkpoint.offsets == {partition: len(found) for partition, found in records.items() if found}
    assert sum(len(found) for found in records.values()) == 3000
    for partition, found in records.items():
        for record in found:
            key = f"chart/chart-{int(json.loads(record.value)['id']) % 10}".encode()
            assert (record.key, partition) == (key, partition_of(key, settings.kafka.partitions))


async def test_whatever_comes_through_the_door_goes_into_the_log(settings: Settings, fresh_nats: NatsServer) -> None:
    """Batches are split, binary mode keeps its headers, garbage keeps its bytes, and the largest message passes."""
    largest = settings.limits.nats_payload_bytes_max
    binary = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/c24", "ce-type": "x", "Content-Type": "application/json"}
    async with bridge_running(settings) as bridge, connected(fresh_nats, settings, "c24") as client:
        await wait_taken(bridge, "c24", 0)
        await publish(client, "c24", [b"[" + event(1, "a") + b"," + event(2, "b") + b"]"])
        await publish(client, "c24", [b"{}"], binary)
        await publish(client, "c24", [b"\xff\xfe not an event", b"", b"z" * largest])
        await wait_taken(bridge, "c24", 5)
    found = by_sequence(await read_events(settings))
    assert [(record.key, record.value) for record in found[1]] == [(b"chart/a", event(1, "a")), (b"chart/b", event(2, "b"))]
    headers = dict(found[2][0].headers)
    assert (headers["ce-id"], headers["content-type"]) == (b"7", b"application/json")
    assert [(record.key, record.value) for record in found[3]] == [(b"unknown/c24", b"\xff\xfe not an event")]
    assert [(record.key, record.value) for record in found[4]] == [(b"unknown/c24", b"")]
    assert [(record.key, len(record.value)) for record in found[5]] == [(b"unknown/c24", largest)]


async def test_no_subject_stops_a_stream(settings: Settings, fresh_nats: NatsServer) -> None:
    """Subjects that nats-py cannot read, but JetStream stores, arrive like any other."""
    async with (
        bridge_running(settings) as bridge,
        connected(fresh_nats, settings, "c24", skip_subject_validation=True) as client,
    ):
        await wait_taken(bridge, "c24", 0)
        for subject in ("sm.in.c24.a\x0cb", "sm.in.c24.a\x0bb", "sm.in.c24.\u00e9"):
            await client.publish(subject, b"x")
        await _publish_raw(client, b"sm.in.c24.\xff\xfe", b"y")
        await wait_taken(bridge, "c24", 4)
    assert sorted(by_sequence(await read_events(settings))) == [1, 2, 3, 4]


async def _publish_raw(client: Client, subject: bytes, body: bytes) -> None:
    """What a client in another language may send."""
    client._transport.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(body), body))
    await client.flush()


async def test_a_full_stream_is_freed_at_once(
    orbit_settings: Settings, fresh_nats: NatsServer, kafka: Kafka, topic_prefix: str
) -> None:
    """Three times as much as the stream holds goes through it, although the grace window is ten minutes."""
    settings = bridge_settings(orbit_settings, fresh_nats, kafka, topic_prefix, nats={"stream_bytes_max": 1 << 20})
    async with (
        bridge_running(settings) as bridge,
        connected(fresh_nats, settings, "c24") as client,
        connected(fresh_nats, settings, "syncmaster-bridge") as admin,
    ):
        await wait_taken(bridge, "c24", 0)
        for number in range(60):
            await eventually(lambda body=b"%05d" % number + b"x" * 50_000: _taken_by_jetstream(client, body))
        await wait_taken(bridge, "c24", 60)
        state = await stream_state(admin, STREAM)
        assert (state.last, state.first > 1) == (60, True)
    assert sorted(by_sequence(await read_events(settings))) == list(range(1, 61))


async def _taken_by_jetstream(client: Client, body: bytes) -> bool:
    try:
        await client.jetstream(timeout=2).publish("sm.in.c24.test", body)
    except APIError as exc:
        if exc.description != "maximum bytes exceeded":
            raise
        return False
    return True


async def test_the_servers_sync_setting_is_read(settings: Settings) -> None:
    """The stack that ships syncs before it acknowledges; without the monitoring endpoint the operator is told that nobody knows."""
    with capture_logs() as lines:
        await tell_about_sync(settings.nats)
        await tell_about_sync(settings.nats.model_copy(update={"monitor_url": None}))
        await tell_about_sync(settings.nats.model_copy(update={"monitor_url": "http://127.0.0.1:1"}))
    assert [line["log_level"] for line in lines] == ["info", "warning", "warning"]
