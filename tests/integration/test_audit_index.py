"""The gateway's index of the audit over a real log: filled from the topic, and filled again when it was forgotten or deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from gateway.local.kafka import Kafka
from streams.errors import Retriable
from streams.settings import Settings
from streams.topic_admin import ensure_topics
from streams.topics import Topics
from tables.audit_follower import AuditFollower
from tables.audit_record import AuditRecord, Outcome
from tables.audit_scan import AuditScan
from tables.audit_search import Question
from tables.index import AuditIndex
from tests.brokers import orbit
from tests.harness import eventually

pytestmark = pytest.mark.connected
PARTITIONS, EACH = 2, 700


@pytest.fixture(name="settings")
async def _settings(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> Settings:
    """A log with records in it."""
    settings = orbit(tmp_path, kafka={"bootstrap": kafka.bootstrap, "topic_prefix": topic_prefix, "partitions": PARTITIONS})
    await ensure_topics(settings)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for partition in range(PARTITIONS):
            for seq in range(EACH):
                record = AuditRecord(f"a-{partition}-{seq}", seq, 1_795_000_000_000 + seq, Outcome.ACCEPTED, f"chart/app-{seq}")
                await producer.send(Topics(topic_prefix).audit, msgspec.json.encode(record), partition=partition)
    return settings


@pytest.fixture(name="index")
def _index(tmp_path: Path) -> AuditIndex:
    return AuditIndex(tmp_path / "audit.sqlite")


@pytest.fixture(name="follower")
async def _follower(settings: Settings, index: AuditIndex) -> AsyncIterator[AuditFollower]:
    follower = AuditFollower(settings.kafka, index)
    await follower.start()
    yield follower
    await follower.aclose()
    index.close()


async def test_filled_and_filled_again(follower: AuditFollower, index: AuditIndex, tmp_path: Path) -> None:
    """All records are found, each once, after the index was built anew, and after somebody deleted its file."""

    async def is_filled() -> bool:
        return follower.ready and index.outcomes() == {"accepted": PARTITIONS * EACH}

    await eventually(is_filled, 30)
    assert len(index.search(Question(text="app-699"))) == PARTITIONS
    follower.reindex()
    assert not follower.ready
    await eventually(is_filled, 30)
    (tmp_path / "audit.sqlite").unlink()

    async def is_there() -> bool:
        return (tmp_path / "audit.sqlite").exists() and await is_filled()

    await eventually(is_there, 30)
    assert len(index.search(Question(text="app-699"))) == PARTITIONS


async def test_log_without_an_audit(tmp_path: Path, kafka: Kafka) -> None:
    """A log that has no such topics cannot be verified, which is told and is no alarm."""
    settings = orbit(tmp_path, kafka={"bootstrap": kafka.bootstrap, "topic_prefix": "nobody", "request_timeout_s": 2.0})
    with pytest.raises(Retriable):
        async with AuditScan(settings):
            pass
