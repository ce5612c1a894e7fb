"""A worker in the test's own process, over the session's Kafka, with events written straight into [events] as the bridge writes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from agents.worker import SyncApp, build_app
from streams.partition import partition_of
from streams.settings import Settings
from streams.topic_admin import ensure_topics
from streams.topics import Topics
from tables.audit_record import AuditRecord
from tests.brokers import orbit
from tests.events import FakeRecord


def settings_for(directory: Path, bootstrap: str, prefix: str, *, partitions: int = 2, **worker: Any) -> Settings:
    """Two components that read the log, so that a worker needs nothing but Kafka."""
    kafka = {"bootstrap": bootstrap, "topic_prefix": prefix, "partitions": partitions, "session_timeout_s": 6.0}
    return orbit(
        directory,
        kafka=kafka,
        worker={"data_dir": str(directory / "worker"), **worker},
        components={"c8": {"sink": {"type": "log"}}, "c20": {"sink": {"type": "log"}}},
        routes=[
            {"name": "all", "match": {"artifacts": ["*"]}, "to": ["c8"], "mode": "every"},
            {"name": "charts", "match": {"artifacts": ["chart/*"]}, "to": ["c20"]},
        ],
    )


async def write_events(settings: Settings, records: Sequence[FakeRecord]) -> dict[int, int]:
    """Append the records to [events]. Returns the end of each partition."""
    topics, partitions = Topics(settings.kafka.topic_prefix), settings.kafka.partitions
    await ensure_topics(settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        sent = [
            await producer.send(topics.events, r.value, r.key, partition_of(r.key, partitions), headers=list(r.headers))
            for r in records
        ]
        answers = await asyncio.gather(*sent)
    finally:
        await producer.stop()
    ends = dict.fromkeys(range(partitions), 0)
    for answer in answers:
        ends[answer.partition] = max(ends[answer.partition], answer.offset + 1)
    return ends


async def commit_group_offsets(settings: Settings, offsets: Mapping[int, int]) -> None:
    """Say to the group that everything before these offsets of [events] is done, whether it is or not."""
    topics = Topics(settings.kafka.topic_prefix)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, group_id=topics.prefix, enable_auto_commit=False)
    await consumer.start()
    try:
        tps = {TopicPartition(topics.events, partition): offset for partition, offset in offsets.items()}
        consumer.assign(list(tps))
        await consumer.commit({tp: OffsetAndMetadata(offset, "") for tp, offset in tps.items()})
    finally:
        await consumer.stop()


@asynccontextmanager
async def running(settings: Settings, prepare: Callable[[SyncApp], None] = lambda app: None) -> AsyncIterator[SyncApp]:
    """A worker while the context is open. `prepare` may change the app before it starts."""
    app = build_app(settings)
    prepare(app)
    app.finalize()
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.02)


def has_reached(app: SyncApp, ends: Mapping[int, int]) -> Callable[[], bool]:
    """Whether the markers of these partitions are at the ends."""

    def reached() -> bool:
        served = app.partitions.served
        return all(p in served and served[p].marker.events >= end for p, end in ends.items())

    return reached


async def _ends(settings: Settings, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Of all records: a transaction's can be read a little later than its commit is answered, and are waited for."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, isolation_level="read_uncommitted")
    await consumer.start()
    try:
        return dict(await consumer.end_offsets(tps))
    finally:
        await consumer.stop()


async def read_audit(settings: Settings) -> list[AuditRecord]:
    """All committed records of [audit]."""
    topic = Topics(settings.kafka.topic_prefix).audit
    # Not `seek_to_beginning`: aiokafka may answer it with the look-up of `latest` that `assign` had begun.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        tps = [TopicPartition(topic, partition) for partition in range(settings.kafka.partitions)]
        consumer.assign(tps)
        ends = await _ends(settings, tps)
        found: list[AuditRecord] = []
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += [msgspec.json.decode(record.value, type=AuditRecord) for record in batch]
        return found
    finally:
        await consumer.stop()
