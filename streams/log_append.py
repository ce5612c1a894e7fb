"""Appends batches to a topic with an idempotent producer that ends at its first failure. Transactions: `log_transaction.py`.

The invariant that everything about the bridge leans on: *within a partition nothing is sent before all that was given earlier is
acknowledged; after a failure nothing is sent at all.* aiokafka alone does not keep it: a batch that the log refuses for good is dropped,
and the next one of its partition goes out; and `stop()` first sends what is left. So a partition's batches go out one by one, and
`abort` lets go of a producer without sending anything more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from streams.errors import Retriable
from streams.settings import Kafka
from streams.together import finish

#: One produce request for thousands of records; below aiokafka's own bound of a request, 1 MiB.
BATCH_BYTES_MAX = 900_000
_ABORT_S = 2.0


class AppendFailed(Retriable):
    """The log did not take a batch, or nobody knows. This appender is of no more use: make a new one, from what is durable."""


class Span(NamedTuple):
    """Offsets of an append in one partition: of its first record, and the one behind its last."""

    first: int
    end: int


class Batch(BatchBuilder):
    """aiokafka's, less what it asks about serializers for each record: a third of an append."""

    def append(self, *, timestamp: int, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> Any:
        made = None if self._closed else self._builder.append(self._relative_offset, timestamp, key, value, headers)
        if made is None:
            self.close()
        else:
            self._relative_offset += 1
        return made


class LogAppender:
    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._topic = topic
        self._timeout_s = 2 * kafka.request_timeout_s
        self._failed = False
        self._producer = AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap,
            client_id="syncmaster-bridge",
            enable_idempotence=True,
            acks="all",
            max_batch_size=BATCH_BYTES_MAX,
            request_timeout_ms=int(kafka.request_timeout_s * 1000),
            metadata_max_age_ms=60_000,
        )

    async def start(self) -> None:
        try:
            await finish(self._producer.start())
        except (kafka_errors.KafkaError, OSError) as exc:
            raise AppendFailed(f"the log is away: {exc!r}") from exc

    def new_batch(self) -> Batch:
        """`append` returns None when it is full. Takes one record of any size."""
        # Not lz4: aiokafka runs it at level 9, 2.7 µs a message, a third of what the bridge costs.
        return Batch(BATCH_BYTES_MAX, DefaultRecordBatch.CODEC_SNAPPY)

    async def append(self, batches: Mapping[int, Sequence[Any]]) -> dict[int, Span]:
        """Append each partition's batches in order, partitions side by side; returns where in the log they are.

        A partition whose offsets the log did not tell (it had the batch already) is left out. Raises AppendFailed.
        """
        if self._failed:
            raise AppendFailed("this appender has failed before")
        try:
            async with asyncio.timeout(self._timeout_s), asyncio.TaskGroup() as group:
                chains = {partition: group.create_task(self._chain(partition, chain)) for partition, chain in batches.items()}
        except TimeoutError as exc:
            self._failed = True
            raise AppendFailed(f"the log did not acknowledge within {self._timeout_s:.0f} s") from exc
        except BaseExceptionGroup as group_exc:
            self._failed = True
            raise AppendFailed(f"the log refused a batch: {group_exc.exceptions[0]!r}") from group_exc.exceptions[0]
        except asyncio.CancelledError:
            self._failed = True
            raise
        return {partition: span for partition, task in chains.items() if (span := task.result()) is not None}

    async def _chain(self, partition: int, batches: Sequence[Any]) -> Span | None:
        span = None
        for batch in batches:
            acknowledged = await self._producer.send_batch(batch, self._topic, partition=partition)
            offset = (await acknowledged).offset
            if offset >= 0:
                span = Span(offset if span is None else span.first, offset + batch.record_count())
        return span

    async def abort(self) -> None:
        """Let go at once: whatever waits to be sent is never sent, whatever is on its way may or may not arrive."""
        self._failed = True
        producer = self._producer
        producer._closed = True
        sender = producer._sender.sender_task
        if sender is not None:
            sender.cancel()
        await producer.client.close()
        if sender is not None:
            with contextlib.suppress(TimeoutError, asyncio.CancelledError, kafka_errors.KafkaError):
                await asyncio.wait_for(sender, _ABORT_S)
