"""What the bridge's tests share: settings for two brokers, a publisher, a bridge as a task, and the log read from its beginning."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from nats.aio.client import Client

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from streams.bridge import Bridge
from streams.bridge_plan import Checkpoint
from streams.errors import Retriable
from streams.ingress import HEADER, Ingress
from streams.nats_cell import Cell
from streams.nats_streams import CHECKPOINTS
from streams.settings import Settings
from streams.topics import Topics

PARTITIONS = 4


def bridge_settings(
    settings: Settings, nats_server: NatsServer, kafka: Kafka, prefix: str, *, nats: dict[str, Any] | None = None, **bridge: Any
) -> Settings:
    """`settings` pointed at these brokers. A short lease: takeovers need not take long here."""
    changes: dict[str, Any] = {
        "kafka": settings.kafka.model_copy(
            update={"bootstrap": kafka.bootstrap, "topic_prefix": prefix, "partitions": PARTITIONS, "request_timeout_s": 5.0}
        ),
        "nats": settings.nats.model_copy(
            update={
                "url": nats_server.url,
                "monitor_url": nats_server.monitoring_url,
                "stream_bytes_max": 64 << 20,
                **(nats or {}),
            }
        ),
        "bridge": settings.bridge.model_copy(update={"lease_ttl_s": 2.0, **bridge}),
    }
    return settings.model_copy(update=changes)


def event(number: int, name: str = "") -> bytes:
    """A CDEvent about chart `name` (one of ten), as C24 sends it."""
    chart = name or f"chart-{number % 10}"
    return json.dumps(
        {
            "specversion": "1.0",
            "id": str(number),
            "source": "/c24",
            "type": "dev.cdevents.artifact.published.0.2.0",
            "datacontenttype": "application/json",
            "data": {
                "context": {
                    "version": "0.4.1",
                    "id": str(number),
                    "source": "/c24",
                    "type": "dev.cdevents.artifact.published.0.2.0",
                },
                "subject": {"id": f"pkg:helm/{chart}@1.0.{number}", "type": "artifact", "content": {}},
            },
        }
    ).encode()


async def publish(client: Client, principal: str, bodies: Iterable[bytes], headers: dict[str, str] | None = None) -> int:
    """Into the principal's stream, each acknowledged, many at once; returns how many."""
    js = client.jetstream(timeout=20, publish_async_max_pending=1000)
    futures = [await js.publish_async(f"sm.in.{principal}.test", body, headers=headers) for body in bodies]
    async with asyncio.timeout(60):
        await asyncio.gather(*futures)
    return len(futures)


@asynccontextmanager
async def bridge_running(settings: Settings) -> AsyncIterator[Bridge]:
    """A bridge in this process; fails the test if it ended by itself, or does not end when it is told to."""
    bridge, stop = Bridge(settings), asyncio.Event()
    task = asyncio.create_task(bridge.run(stop))
    try:
        yield bridge
        assert not task.done(), task.exception()
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await asyncio.gather(task, return_exceptions=True)


async def eventually(condition: Callable[[], Awaitable[Any]], timeout_s: float = 20.0) -> Any:
    """The first true value of `condition`; asks every 50 ms."""
    deadline = time.monotonic() + timeout_s
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"not so within {timeout_s} s: {condition}"
        await asyncio.sleep(0.05)
    return value


async def stored_checkpoint(client: Client, stream: str) -> Checkpoint | None:
    """None also while there is no bucket yet, or NATS is away."""
    try:
        value = (await Cell(client, CHECKPOINTS, stream).read()).value
    except Retriable:
        return None
    return msgspec.json.decode(value, type=Checkpoint) if value else None


async def wait_taken(bridge: Bridge, principal: str, sequence: int, timeout_s: float = 20.0) -> None:
    """Until the log has acknowledged the principal's stream up to `sequence`."""

    async def there() -> bool:
        found = [stream for stream in bridge.statistics().streams if stream.principal == principal]
        return bool(found) and found[0].sequence >= sequence

    await eventually(there, timeout_s)


async def read_events(settings: Settings) -> dict[int, list[Any]]:
    """All records of [events] by partition, from the beginning to the end as it is now."""
    # Not `seek_to_beginning`: aiokafka may answer it with the look-up of `latest` that `assign` had begun.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        tps = [TopicPartition(Topics(settings.kafka.topic_prefix).events, p) for p in range(settings.kafka.partitions)]
        ends = await consumer.end_offsets(tps)
        consumer.assign(tps)
        records: dict[int, list[Any]] = {tp.partition: [] for tp in tps}
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, fetched in (await consumer.getmany(timeout_ms=500)).items():
                records[tp.partition] += fetched
        return records
    finally:
        await consumer.stop()


def ingresses(records: dict[int, list[Any]]) -> dict[int, list[Ingress]]:
    return {p: [Ingress.decode(dict(record.headers)[HEADER]) for record in found] for p, found in records.items()}
