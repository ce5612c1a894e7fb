"""Appending to a real Kafka: a failure sends nothing behind it; and the topics' administration."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from gateway.local.kafka import Kafka
from streams.errors import ConfigError
from streams.log_append import AppendFailed, LogAppender, Span
from streams.log_ends import LogEnds
from streams.settings import Settings
from streams.topic_admin import administering, ensure_topics
from streams.topics import Topics
from tests.bridging import PARTITIONS, eventually, read_events

pytestmark = pytest.mark.connected


@pytest.fixture(name="settings")
def _settings(session_settings: Settings, kafka: Kafka, topic_prefix: str) -> Settings:
    log = session_settings.kafka.model_copy(
        update={"bootstrap": kafka.bootstrap, "topic_prefix": topic_prefix, "partitions": PARTITIONS, "request_timeout_s": 5.0}
    )
    return session_settings.model_copy(update={"kafka": log})


async def started(settings: Settings) -> LogAppender:
    appender = LogAppender(settings.kafka, Topics(settings.kafka.topic_prefix).events)
    await appender.start()
    return appender


def batch(appender: LogAppender, *values: bytes) -> Any:
    builder = appender.new_batch()
    for value in values:
        assert builder.append(timestamp=1, key=b"k", value=value, headers=[]) is not None
    return builder


async def values(settings: Settings) -> dict[int, list[bytes]]:
    return {p: [record.value for record in found] for p, found in (await read_events(settings)).items() if found}


async def test_tells_where_the_records_are(settings: Settings) -> None:
    """The first offset and the one behind the last, per partition, over several batches and appends."""
    await ensure_topics(settings)
    appender = await started(settings)
    try:
        first = await appender.append({0: [batch(appender, b"a", b"b"), batch(appender, b"c")], 2: [batch(appender, b"x")]})
        second = await appender.append({0: [batch(appender, b"d")]})
    finally:
        await appender.abort()
    assert first == {0: Span(0, 3), 2: Span(0, 1)}
    assert second == {0: Span(3, 4)}
    assert await values(settings) == {0: [b"a", b"b", b"c", b"d"], 2: [b"x"]}


async def test_a_refused_batch_sends_nothing_behind_it(settings: Settings) -> None:
    """The broker refuses a batch as too large: the next batch of its partition is not sent, nor is anything afterwards."""
    await ensure_topics(settings)
    await _alter(settings, {"max.message.bytes": "2000"})
    appender = await started(settings)
    try:
        chain = [
            batch(appender, b"first"),
            batch(appender, os.urandom(60_000)),
            batch(appender, b"behind"),
        ]
        with pytest.raises(AppendFailed, match="MessageSizeTooLarge"):
            await appender.append({0: chain})
        with pytest.raises(AppendFailed, match="failed before"):
            await appender.append({1: [batch(appender, b"afterwards")]})
    finally:
        await appender.abort()
    assert await values(settings) == {0: [b"first"]}


async def test_letting_go_sends_nothing_more(settings: Settings, kafka: Kafka) -> None:
    """With the broker hanging, `abort` returns soon; when the broker is back, at most what was on its way is there."""
    await ensure_topics(settings)
    appender = await started(settings)
    await appender.append({0: [batch(appender, b"first")]})
    kafka.pause()
    try:
        appending = asyncio.create_task(appender.append({0: [batch(appender, b"on its way"), batch(appender, b"behind")]}))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        appending.cancel()
        await asyncio.gather(appending, return_exceptions=True)
        await appender.abort()
        assert time.monotonic() - began < 4
    finally:
        kafka.resume()
    await ensure_topics(settings)
    assert (await values(settings))[0] in ([b"first"], [b"first", b"on its way"])


async def test_a_log_that_shrank_is_noticed_and_remembered(settings: Settings) -> None:
    """An end below one that was seen, or an append below one's own last, is a shrinkage that every stream can still ask about."""
    await ensure_topics(settings)
    ends = LogEnds(settings.kafka, Topics(settings.kafka.topic_prefix).events)
    assert await ends.look() == dict.fromkeys(range(PARTITIONS), 0)
    ends.appended({}, {0: Span(0, 10)})
    assert await ends.look() == dict.fromkeys(range(PARTITIONS), 0)
    ends.appended({1: 7}, {1: Span(3, 20)})
    assert [(s.partition, s.end) for s in ends.shrinkages] == [(0, 0), (1, 3)]
    grown_again = {0: 100, 1: 100}
    assert ends.lost({0: 10, 1: 7}, grown_again, answered=0) == {0: 0, 1: 3}
    assert ends.lost({0: 10, 1: 7}, grown_again, answered=2) == {}


async def test_topics_are_made_once_and_as_configured(settings: Settings) -> None:
    """A second start finds them as they should be; compaction and sizes are as the settings say."""
    await ensure_topics(settings)
    await ensure_topics(settings)
    topics = Topics(settings.kafka.topic_prefix)
    changelog = await _configs(settings, topics.changelogs[0])
    assert changelog["cleanup.policy"] == "compact"
    assert changelog["max.message.bytes"] == str(settings.limits.log_message_bytes_max)
    assert (await _configs(settings, topics.events))["retention.ms"] == str(7 * 86_400_000)


async def test_another_number_of_partitions_is_refused(settings: Settings) -> None:
    """It can never change: the error names the topic and the mend."""
    await ensure_topics(settings)
    other = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": PARTITIONS + 1})})
    with pytest.raises(ConfigError, match=rf"has {PARTITIONS} partitions.*set kafka.partitions to {PARTITIONS}"):
        await ensure_topics(other)


async def test_another_message_size_is_refused(settings: Settings) -> None:
    """A topic that takes less than the settings need would stop its partition for good."""
    await ensure_topics(settings)
    await _alter(settings, {"max.message.bytes": "2000"})
    with pytest.raises(ConfigError, match=r"max.message.bytes=2000.*kafka-configs.sh --alter"):
        await ensure_topics(settings)


async def test_too_many_replicas_are_refused_with_the_mend(settings: Settings) -> None:
    """More than there are brokers."""
    three = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"replication_factor": 3})})
    with pytest.raises(ConfigError, match=r"refuses to make the topic.*kafka.replication_factor"):
        await ensure_topics(three)


async def test_a_door_wider_than_the_log_is_refused(settings: Settings) -> None:
    """The largest message, with what the door adds, must fit into a record."""
    limits = settings.limits.model_copy(update={"log_message_bytes_max": settings.limits.nats_payload_bytes_max + 100})
    with pytest.raises(ConfigError, match=r"raise the first or lower the second"):
        await ensure_topics(settings.model_copy(update={"limits": limits}))


async def _alter(settings: Settings, config: dict[str, str]) -> None:
    topic = Topics(settings.kafka.topic_prefix).events
    async with administering(settings.kafka.bootstrap) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])

    async def altered() -> bool:
        found = await _configs(settings, topic)
        return config.items() <= found.items()

    await eventually(altered)


async def _configs(settings: Settings, topic: str) -> dict[str, str]:
    async with administering(settings.kafka.bootstrap) as admin:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}
