"""The log as the benchmarks see it: a Kafka with room, topics, ends and what is in them. All from outside the engines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from gateway.local.kafka import Kafka
from streams.topic_admin import administering

HEAP_MB = 1536
#: As in production, but nothing is deleted or compacted while it is measured.
_BROKER = {"log.cleaner.backoff.ms": "60000", "log.retention.check.interval.ms": "3600000", "log.segment.bytes": str(512 << 20)}


class Log:
    """Two clients for the whole run: one administers, one reads ends and records. Use with `async with`."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            max_partition_fetch_bytes=4 << 20,
            fetch_max_bytes=32 << 20,
        )
        self._clients = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as clients:
            self._admin = await clients.enter_async_context(administering(self.bootstrap))
            self._reader = await clients.enter_async_context(self._reader)
            self._clients = clients.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        await self._clients.__aexit__(kind, exc, trace)

    async def create(self, topics: Iterable[str], partitions: int, **config: str) -> None:
        config = {"compression.type": "producer", "max.message.bytes": "2097152"} | config
        await self._admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config) for name in topics])

    async def delete(self, topics: Iterable[str]) -> None:
        """Returns when they are gone, so that they can be made anew."""
        there = set(topics) & set(await self._admin.list_topics())
        if there:
            await self._admin.delete_topics(sorted(there))
        while there & set(await self._admin.list_topics()):
            await asyncio.sleep(0.1)

    async def topics(self) -> list[str]:
        return list(await self._admin.list_topics())

    async def ends(self, topic: str, partitions: int) -> list[int]:
        """Per partition, the offset behind the last committed record (a transaction's own marker counts as one)."""
        tps = [TopicPartition(topic, partition) for partition in range(partitions)]
        ends = await self._reader.end_offsets(tps)
        return [ends[tp] for tp in tps]

    async def group_offsets(self, group: str, topic: str) -> int:
        """The sum of what the group has committed for the topic."""
        offsets = await self._admin.list_consumer_group_offsets(group)
        return sum(meta.offset for tp, meta in offsets.items() if tp.topic == topic and meta.offset > 0)

    async def records(self, topic: str, partitions: int, starts: Mapping[int, int] | None = None) -> AsyncIterator[list[Any]]:
        """The committed records of the topic up to its present end, in lists, each of one partition and in order."""
        tps = [TopicPartition(topic, partition) for partition in range(partitions)]
        ends = await self._reader.end_offsets(tps)
        self._reader.assign(tps)
        for tp in tps:
            self._reader.seek(tp, (starts or {}).get(tp.partition, 0))
        while any([await self._reader.position(tp) < ends[tp] for tp in tps]):
            for records in (await self._reader.getmany(timeout_ms=200)).values():
                yield records


def broker(directory: Path, heap_mb: int = HEAP_MB) -> Kafka:
    """A Kafka of the benchmark's own; the caller starts and stops it."""
    return Kafka(directory, heap_mb=heap_mb, overrides=_BROKER)
