"""The gateway process, composed as in production, on real Kafka and NATS; the log is written by the test instead of a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from yarl import URL

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from gateway.server import run_gateway
from streams.commands import Command
from streams.partition import partition_of
from streams.settings import Settings
from streams.topic_admin import ensure_topics
from streams.topics import Topics
from tables.audit_record import AuditRecord, Outcome
from tables.model import MARKER_KEY, Head, Marker, Provenance, Sync, SyncState
from tests.brokers import orbit

pytestmark = pytest.mark.connected
PARTITIONS = 2
KEY = "chart/argo-cd"
PARTITION = partition_of(KEY.encode(), PARTITIONS)


@pytest.fixture
async def settings(
    kafka: Kafka, nats_server: NatsServer, session_settings: Settings, topic_prefix: str, tmp_path: Path
) -> Settings:
    log = {"bootstrap": kafka.bootstrap, "topic_prefix": topic_prefix, "partitions": PARTITIONS}
    nats = session_settings.nats.model_copy(update={"url": nats_server.url}).model_dump()
    settings = orbit(tmp_path, kafka=log, nats=nats, gateway={"data_dir": tmp_path / "gateway", "port": 0})
    await ensure_topics(settings)
    return settings


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(run_gateway(settings, stop, on_ready=url.set_result))
    headers = {"Authorization": f"Bearer {settings.principals['operator'].api_keys[0].reveal()}"}
    await asyncio.wait([serving, url], return_when=asyncio.FIRST_COMPLETED, timeout=20)
    async with aiohttp.ClientSession(url.result(), headers=headers) as session:
        try:
            await ready(session)
            yield session
        finally:
            stop.set()
            await asyncio.wait_for(serving, 10)


async def ready(session: aiohttp.ClientSession) -> None:
    deadline = time.monotonic() + 20
    while True:
        async with session.get("/readyz?verbose") as response:
            if response.status == 200:
                return
            assert time.monotonic() < deadline, await response.text()
        await asyncio.sleep(0.05)


class Writer:
    """Writes to the log what a worker would, one transaction at a time."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._topics = Topics(settings.kafka.topic_prefix)
        self._producer = producer
        self._marker = Marker()

    async def turn(self, sync: dict[str, Sync], *, event_id: str = "e1", commands: int = 0) -> str:
        """One event accepted for KEY; returns its token."""
        seq = self._marker.turn
        self._marker = Marker(turn=seq + 1, commands=commands, marks={"SM_IN_c24": (1, seq + 1, 0)}, audit_seq=seq + 1)
        origin = Provenance(event_id, "urn:test", "t", "c24", "SM_IN_c24", (1, seq + 1, 0), 1_795_000_000_000, "test")
        head = Head("1.0.0", None, seq + 1, origin, sync=sync)
        record = AuditRecord(f"a-{seq}", seq, 1, Outcome.ACCEPTED, KEY, "c24", "urn:test", event_id)
        async with self._producer.transaction():
            for topic, key, value in (
                (self._topics.changelog("artifacts"), KEY.encode(), head),
                (self._topics.changelog("artifacts"), MARKER_KEY, self._marker),
                (self._topics.audit, KEY.encode(), record),
            ):
                await self._producer.send_and_wait(topic, msgspec.json.encode(value), key, PARTITION)
        return f"SM_IN_c24:{PARTITION}:1.{seq + 1}.0"


@pytest.fixture
async def writer(settings: Settings) -> AsyncIterator[Writer]:
    name = f"{settings.kafka.topic_prefix}.writer"
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, transactional_id=name) as producer:
        yield Writer(settings, producer)


async def get(session: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with session.get(URL(path, encoded=True)) as response:
        assert response.status == 200, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


IN_SYNC = {"c20": Sync(desired=1, delivered=1, state=SyncState.IN_SYNC, since_ms=1)}
BEHIND = {"c20": Sync(desired=2, delivered=1, state=SyncState.BEHIND, since_ms=1)}


async def test_a_write_is_read_with_its_token(settings: Settings, writer: Writer) -> None:
    """A read with a token sees the state, the counts and the audit record of what the token stands for."""
    async with gateway(settings) as session:
        token = await writer.turn(BEHIND)
        artifact = await get(session, f"/v1/artifacts/chart%2Fargo-cd?min_token={token}")
        event = await get(session, f"/v1/events/urn%3Atest/e1?min_token={token}")
        status = await get(session, f"/v1/status?min_token={token}")
    assert artifact["sync"]["c20"]["state"] == "behind"
    assert [outcome["outcome"] for outcome in event["outcomes"]] == ["accepted"]
    assert (status["in_step"], status["outcomes"]) == (False, {"accepted": 1})


async def test_restart_goes_on_where_it_stopped(settings: Settings, writer: Writer) -> None:
    """After a restart the counts come from the stores, and what happened meanwhile is read from the log."""
    async with gateway(settings) as session:
        await get(session, f"/v1/artifacts/chart%2Fargo-cd?min_token={await writer.turn(IN_SYNC)}")
        assert (await get(session, "/v1/status"))["in_step"] is True
    token = await writer.turn(BEHIND, event_id="e2")
    async with gateway(settings) as session:
        status = await get(session, f"/v1/status?min_token={token}")
        await get(session, "/v1/events/urn%3Atest/e1")
        await get(session, f"/v1/events/urn%3Atest/e2?min_token={token}")
    c20 = next(component for component in status["components"] if component["name"] == "c20")
    assert (c20["in_sync"], c20["behind"], status["artifacts"], status["outcomes"]) == (0, 1, {"chart": 1}, {"accepted": 2})


async def test_manual_sync_is_in_the_log(settings: Settings, writer: Writer, tmp_path: Path) -> None:
    """A manual sync is a command in the artifact's partition, and every gateway can tell how far it is."""
    other = settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"data_dir": tmp_path / "other"})})
    token = await writer.turn(IN_SYNC)
    async with gateway(settings) as session, gateway(other) as elsewhere:
        await get(session, f"/v1/artifacts/chart%2Fargo-cd?min_token={token}")
        async with session.post("/v1/sync", json={"artifact": KEY, "reason": "test"}) as response:
            assert response.status == 202, await response.text()
            operation, location = await response.json(), response.headers["Location"]
        key, command = await only_command(settings)
        assert (key, command.id, command.principal, command.reason) == (KEY, operation["id"], "operator", "test")
        assert operation["tokens"] == [f"commands:{PARTITION}:0"]
        while True:
            async with elsewhere.get(location) as response:
                if response.status == 200:
                    assert (await response.json())["state"] == "pending"
                    break
            await asyncio.sleep(0.05)
        done = {"c20": Sync(desired=2, delivered=2, state=SyncState.IN_SYNC, since_ms=1, command=operation["id"])}
        await writer.turn(done, event_id="e2", commands=1)
        told = await get(elsewhere, f"{location}?min_token=commands:{PARTITION}:0")
        assert (told["state"], told["in_sync"]) == ("done", 1)


async def only_command(settings: Settings) -> tuple[str, Command]:
    tp = TopicPartition(Topics(settings.kafka.topic_prefix).commands, PARTITION)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([tp])
        record = await asyncio.wait_for(consumer.getone(tp), 10)
        return record.key.decode(), msgspec.json.decode(record.value, type=Command)
    finally:
        await consumer.stop()
