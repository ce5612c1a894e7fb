"""Reads [alerts] for one receiver, as a member of its consumer group: of all gateways one forwards, and goes on where the last one was.

Positions are committed by `commit`, after the receiver has what was read: at least once. Reading for lists: `log_reader.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import errors as kafka_errors

from streams.errors import Retriable
from streams.settings import Kafka
from streams.topics import Topics

#: A receiver that is away makes its forwarder wait for so long between two polls; the group must not take that for death.
_BETWEEN_POLLS_S_MAX = 3600
_RECORDS_MAX = 500


class AlertReader:
    """Raises Retriable when the log is away, or when another gateway has taken over: then make a new one."""

    def __init__(self, kafka: Kafka, receiver: str) -> None:
        topics = Topics(kafka.topic_prefix)
        self._consumer = AIOKafkaConsumer(
            topics.alerts,
            bootstrap_servers=kafka.bootstrap,
            client_id=f"syncmaster-alerts-{receiver}",
            group_id=f"{topics.alerts}.{receiver}",
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            request_timeout_ms=int(kafka.request_timeout_s * 1000),
            session_timeout_ms=int(kafka.session_timeout_s * 1000),
            heartbeat_interval_ms=int(kafka.session_timeout_s * 1000 / 3),
            max_poll_interval_ms=_BETWEEN_POLLS_S_MAX * 1000,
            metadata_max_age_ms=5_000,  # at a first start the topic is made a moment later
        )

    async def start(self) -> None:
        try:
            await self._consumer.start()
        except (kafka_errors.KafkaError, OSError) as exc:
            await self._consumer.stop()
            raise Retriable(f"the log is away: {exc!r}") from exc

    async def poll(self, timeout_s: float) -> Sequence[Any]:
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=_RECORDS_MAX)
        except kafka_errors.KafkaError as exc:
            raise Retriable(f"reading alerts failed: {exc!r}") from exc
        return [record for records in fetched.values() for record in records]

    async def commit(self) -> None:
        """What was polled so far is done with."""
        try:
            if self._consumer.assignment():
                await self._consumer.commit()
        except kafka_errors.KafkaError as exc:
            raise Retriable(f"the position in alerts could not be committed: {exc!r}") from exc

    async def aclose(self) -> None:
        await self._consumer.stop()
