"""Appends what operators ask for: commands to [commands], and what a manual sync was about to [control].

Reading: `control_reader.py`. What is to hold for everyone until further notice: `control_log.py`.

Commands go first, the operation second. If the operation cannot be written its caller is told to try again; the commands that are
in the log by then cost one repeated delivery each, and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from streams.commands import Command, Operation
from streams.control import control_key
from streams.errors import Retriable
from streams.partition import partition_of
from streams.settings import Kafka
from streams.together import finish
from streams.topics import Topics

_log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode
_Record = tuple[str, int, bytes, bytes | None]  # topic, partition, key, value


class CommandLog:
    """One idempotent producer, made when it is first needed; any failed append ends it, so nothing overtakes what failed."""

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._topics = Topics(settings.topic_prefix)
        self._producer: AIOKafkaProducer | None = None
        self._one_at_a_time = asyncio.Lock()

    async def append(self, commands: Iterable[tuple[str, Command]]) -> dict[int, int]:
        """(artifact key, command) in order. Returns, per partition touched, the offset behind its last command.

        Raises Retriable when the log did not acknowledge all of them; some may be there.
        """
        records: list[_Record] = [
            (self._topics.commands, partition_of(key.encode(), self._settings.partitions), key.encode(), _encode(command))
            for key, command in commands
        ]
        ends: dict[int, int] = {}
        for appended in await self._send(records):
            ends[appended.partition] = max(ends.get(appended.partition, 0), appended.offset + 1)
        return ends

    async def record(self, operation: Operation, *, forget: str | None = None) -> None:
        """Make the operation known to every gateway, and the one called `forget` unknown: the topic keeps as many as its readers."""
        records: list[_Record] = [(self._topics.control, 0, control_key(Operation, operation.id), _encode(operation))]
        if forget is not None:
            records.append((self._topics.control, 0, control_key(Operation, forget), None))
        await self._send(records)

    async def aclose(self) -> None:
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _send(self, records: list[_Record]) -> list[Any]:
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(self._settings.request_timeout_s):
                    producer = await self._started()
                    sent = [await producer.send(topic, value, key, partition) for topic, partition, key, value in records]
                    return _told(await asyncio.gather(*sent))
            except (kafka_errors.KafkaError, TimeoutError) as exc:
                await self._abandon()
                raise Retriable(f"the log did not acknowledge ({type(exc).__name__}); try again", retry_after_s=5.0) from exc

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._settings.bootstrap,
                client_id="syncmaster-gateway",
                enable_idempotence=True,
                acks="all",
                compression_type="lz4",
                max_batch_size=900_000,
                request_timeout_ms=int(self._settings.request_timeout_s * 1000),
            )
            try:
                await finish(producer.start())
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _abandon(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(1.0):  # `stop` would wait for batches that nobody waits for any more
                await producer.stop()
        except (kafka_errors.KafkaError, TimeoutError) as exc:
            _log.warning("a producer of commands could not be closed", error=repr(exc))
        finally:
            await producer.client.close()  # a `stop` that was given up leaves its connections open


def _told(appended: list[Any]) -> list[Any]:
    """The log tells no offset for a batch that it had already: after a lost answer. Then nobody can wait for the commands."""
    if any(record.offset < 0 for record in appended):
        raise kafka_errors.KafkaError("the log did not tell where the records are")
    return appended
