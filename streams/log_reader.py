"""Reads topic-partitions of the log by position, committed records only, without a group. Writing: `log_transaction.py`, `log_append.py`.

Positions, not offsets of records, tell how far a reader is: behind the last record stands a commit marker that no reader ever sees.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka import errors as kafka_errors

from streams.errors import Retriable
from streams.fetched_over import FirstConnections


class TP(NamedTuple):
    topic: str
    partition: int


class Fetched(NamedTuple):
    """What one poll brought for one topic-partition: records (maybe none) and the position behind them.

    A record has `offset`, `timestamp` in ms, `key`, `value` and `headers`, as it came out of its batch.
    """

    records: Sequence[Any]
    position: int


class LogReader:
    """One consumer in assign mode. Raises Retriable when the log is away."""

    def __init__(
        self, bootstrap: str, *, request_timeout_s: float = 30.0, fetch_bytes_max: int = 4 << 20, wait_s: float = 0.1
    ) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            client_id="syncmaster-reader",
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="none",
            check_crcs=False,
            request_timeout_ms=int(request_timeout_s * 1000),
            max_partition_fetch_bytes=fetch_bytes_max,
            fetch_max_wait_ms=int(wait_s * 1000),
            metadata_max_age_ms=60_000,
        )
        self._started = False

    async def start(self) -> None:
        try:
            await self._consumer.start()
        except kafka_errors.KafkaError as exc:
            await self._consumer.stop()
            raise Retriable(f"the log is away: {exc!r}") from exc
        self._fetches = FirstConnections(self._consumer._fetcher)
        self._started = True

    async def aclose(self) -> None:
        if not self._started:
            return
        try:
            await self._consumer.stop()
        except asyncio.CancelledError:
            # aiokafka cancels its own tasks, tells that as if we were cancelled, and leaves the rest running and its connections open.
            with contextlib.suppress(asyncio.CancelledError):
                await self._consumer._fetcher.close()
            await self._consumer._client.close()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise

    def assign(self, positions: Mapping[TP, int]) -> None:
        """Read exactly these from now on, each from its position."""
        tps = {tp: TopicPartition(*tp) for tp in positions}
        self._consumer.assign(list(tps.values()))
        self._fetches.begin()
        for tp, position in positions.items():
            self._consumer.seek(tps[tp], position)

    async def poll(self, timeout_s: float, only: Iterable[TP] = (), records_max: int | None = None) -> dict[TP, Fetched]:
        """Whatever has arrived, at most after `timeout_s`; of some topic-partitions `only`, where they are named. Positions move even
        where no record came. Raises Reconnected, once for all: begin again."""
        tps = [TopicPartition(*tp) for tp in only]
        try:
            fetched = await self._consumer.getmany(*tps, timeout_ms=int(timeout_s * 1000), max_records=records_max)
        except kafka_errors.OffsetOutOfRangeError as exc:
            raise OutOfRange({TP(tp.topic, tp.partition): offset for tp, offset in exc.args[0].items()}) from exc
        except kafka_errors.KafkaError as exc:
            raise Retriable(f"reading the log failed: {exc!r}") from exc
        if self._fetches.has_changed:
            raise Reconnected
        return {
            TP(tp.topic, tp.partition): Fetched(records, await self._consumer.position(tp)) for tp, records in fetched.items()
        }

    async def position(self, tp: TP) -> int:
        return int(await self._consumer.position(TopicPartition(*tp)))

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:
        """The last stable offset of each: where a reader of committed records will stand when it has read everything."""
        return await self._offsets(self._consumer.end_offsets, tps)

    async def beginnings(self, tps: Iterable[TP]) -> dict[TP, int]:
        return await self._offsets(self._consumer.beginning_offsets, tps)

    async def _offsets(self, ask: Any, tps: Iterable[TP]) -> dict[TP, int]:
        wanted = {TopicPartition(*tp): tp for tp in tps}
        if not wanted:
            return {}
        try:
            return {wanted[tp]: offset for tp, offset in (await ask(list(wanted))).items()}
        except kafka_errors.KafkaError as exc:
            raise Retriable(f"asking the log for offsets failed: {exc!r}") from exc


class Reconnected(Retriable):
    """Records came over another connection than before: the log may have lost its tail in between, and have grown again."""

    def __init__(self) -> None:
        super().__init__("the connection to the log is another; looking at what it still has")


class OutOfRange(Retriable):
    """Positions that the log does not have (any more, or yet)."""

    def __init__(self, positions: Mapping[TP, int]) -> None:
        super().__init__(f"the log does not have these positions: {dict(positions)}")
        self.positions = dict(positions)
