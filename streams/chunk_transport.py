"""Faust's transport, carrying chunks: all that has come for a topic meanwhile, thousands of records maybe, travels as one Faust message.

Faust spends some hundred microseconds on each *message* (tasks, queues, acks, sensors), and two rounds of the loop. None of that is changed
here; there are just a thousand times fewer messages. What each class replaces, and why:

* `ChunkScheduler` (`chunks.py`) yields lists of records instead of records, in turn over the topic-partitions.
* `ChunkConsumer` makes one message of a topic's lists, and is given what the thread has fetched instead of asking for it (`chunk_pump.py`).
  It knows no acks: the actor says `finished` when a chunk's transaction is committed, and that offset is committed to the group for lag
  displays only. Work resumes from the marker, so nothing is lost when a rebalance throws it away. It keeps changelog
  partitions paused in aiokafka: those are read by `tables/replica.py`.
* `ChunkThread` asks for committed records only, and waits 50 ms for a fetch instead of Faust's hard-coded 1,500.

All of this leans on private names of faust-streaming and aiokafka, pinned exactly in pyproject.toml.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import faust
import structlog
from aiokafka import TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.chunk_pump import Lot, Pump
from streams.chunks import Chunk, Chunks, ChunkScheduler, Untaken
from streams.fetched_ahead import FetchedAhead
from streams.logs import AWAY

log = structlog.get_logger(__name__)

FETCH_WAIT_MS = 50
_POLL_S = 1.0
_IDLE_S = 0.1


class ChunksMessage(ConsumerMessage):
    """A Faust message whose place is that of its first chunk's last record."""

    __slots__ = ("chunks",)
    chunks: Chunks


class ChunkSchema(faust.Schema):
    """Decodes nothing: a chunk's records are decoded by the pipeline, where a bad one costs only itself."""

    def compile(self, app: Any, **_: Any) -> Any:
        create_event = app.create_event

        async def decode(message: ChunksMessage, *, propagate: bool = False) -> Any:
            return create_event(None, message.chunks, None, message)

        return decode


class ChunkThread(driver.AIOKafkaConsumerThread):
    async def on_start(self) -> None:
        await super().on_start()
        self._connections = FetchedAhead(self._ensure_consumer()._fetcher).connections

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def pump(self, pump: Pump, tps: set[TP]) -> None:
        """Fetches of `tps`, which others may change meanwhile, until the flow is suspended."""
        await self.call_thread(self._pump, pump, tps)

    async def _pump(self, pump: Pump, tps: set[TP]) -> None:
        consumer = self._ensure_consumer()

        async def fetch() -> Lot:
            if not tps:  # which aiokafka takes for all
                await asyncio.sleep(_IDLE_S)
                return {}
            records: Lot = await self._fetch_records(consumer, tps, timeout=_POLL_S, max_records=consumer._max_poll_records)
            return records

        await pump.run(fetch, lambda: bool(self.consumer.flow_active))

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Offsets are for lag displays: a commit that fails is no reason to crash, as it is for Faust. The next one comes in a second."""
        try:
            return bool(await self.call_thread(self._try_commit, offsets))
        except kafka_errors.KafkaError as exc:
            AWAY.warning(log, "kafka", "offsets were not committed; lag displays are behind", error=repr(exc))
            return False

    async def _try_commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        known = {TopicPartition(*tp): offset for tp, offset in offsets.items()}
        assigned = consumer.assignment()
        await consumer.commit({tp: OffsetAndMetadata(offset, "") for tp, offset in known.items() if tp in assigned})
        return True

    async def is_member(self) -> bool:
        """A heartbeat of its own: whether the group's generation is still the one that this consumer has joined."""
        return bool(await self.call_thread(self._beat))

    async def _beat(self) -> bool:
        try:
            return bool(await self._ensure_consumer()._coordinator._do_heartbeat())
        except kafka_errors.KafkaError as exc:
            AWAY.warning(log, "kafka", "the group does not answer", error=repr(exc))
            return False

    async def connections(self, tps: Iterable[TP]) -> dict[TP, int]:
        """The number of the connection over which each would be fetched now. Raises Away."""
        numbers: dict[TP, int] = await self.call_thread(self._number, tps)
        return numbers

    async def _number(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {tp: await self._connections.made(TopicPartition(*tp)) for tp in tps}

    async def pause_fetching(self, tps: Iterable[TP]) -> None:
        """Tell aiokafka itself; Faust's own pause only leaves fetched records lying."""

        async def pause() -> None:
            consumer = self._ensure_consumer()
            consumer.pause(*(TopicPartition(*tp) for tp in tps if tp in consumer.assignment()))

        await self.call_thread(pause)


class ChunkConsumer(driver.Consumer):
    _thread: ChunkThread

    def __init__(self, transport: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(transport, *args, **kwargs)
        worker = transport.app.settings.worker
        self.scheduler = ChunkScheduler(worker.chunk_records_max, worker.chunk_bytes_max)
        self._finished: dict[TP, int] = {}
        self._untaken = Untaken()

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, chunks: Chunks, first: Chunk) -> ChunksMessage:
        last = first.records[-1]
        message = ChunksMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            None,
            None,
            0,
            0,
            tp,
            generation_id=chunks.generation_id,
        )
        message.chunks = chunks
        return message

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hands over what the thread has fetched, as it comes. Faust's own takes three rounds of the loop for each message, and drops what is
        below the highest offset that it has seen, which may be new after the log lost its tail; mailboxes judge that."""
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                if self.flow_active:
                    await self._drain_until_suspended()
                else:
                    await self.wait(self.can_resume_flow)
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _drain_until_suspended(self) -> None:
        pump = Pump()
        pumping = asyncio.ensure_future(self._thread.pump(pump, self._get_active_partitions()))
        pumping.add_done_callback(lambda _: pump.end())
        try:
            async for lot in pump.lots():
                if self.flow_active:
                    await self._hand_over(self._cut(lot))
            await pumping
        finally:
            pump.end()

    def _cut(self, lot: Lot) -> dict[str, list[Chunk]]:
        """Into chunks, by topic."""
        wanted = self._get_active_partitions() | self._buffered_partitions
        topics: dict[str, list[Chunk]] = {}
        for tp, records in self.scheduler.iterate(lot):
            if tp in wanted:
                chunk = Chunk(tp.topic, tp.partition, records, records.begin, records.end, records.connection)
                topics.setdefault(tp.topic, []).append(chunk)
        return topics

    async def _hand_over(self, topics: Mapping[str, list[Chunk]]) -> None:
        if self.app.flow_control.is_active():
            await self._deliver(topics)
        else:  # whoever suspends the flow, for a rebalance, waits for nobody who waits for the flow
            await self.wait_first(self._deliver(topics), self.suspend_flow.wait())

    async def _deliver(self, topics: Mapping[str, list[Chunk]]) -> None:
        for topic, chunks in topics.items():
            new = self._untaken.add(topic, chunks, self.app.consumer_generation_id)
            if new is not None:
                await self.callback(self._to_message(TP(topic, chunks[0].partition), new, chunks[0]))

    async def pause_fetching(self, tps: Iterable[TP]) -> None:
        await self._thread.pause_fetching(tps)

    async def is_member(self) -> bool:
        return await self._thread.is_member()

    async def connections(self, tps: Iterable[TP]) -> dict[TP, int]:
        return await self._thread.connections(tps)

    # -- back-pressure: a full mailbox takes only its own topic-partition out of the fetch -------------------------------------

    def mailbox_full(self, tp: TP) -> None:
        self.on_buffer_full(tp)

    def mailbox_drained(self, tp: TP) -> None:
        self.on_buffer_drop(tp)

    # -- progress, for lag displays only ---------------------------------------------------------------------------------------

    def finished(self, tp: TP, next_offset: int) -> None:
        """Everything before `next_offset` is in the state."""
        self._finished[tp] = next_offset

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return iter([tp for tp in self._finished if topics is None or tp in topics or tp.topic in topics])

    def _new_offset(self, tp: TP) -> int | None:
        return self._finished.pop(tp, None)

    async def perform_seek(self) -> None:
        """Faust seeks to the group's offsets at moments of its own choosing; positions are the actors' business."""

    async def wait_empty(self) -> None:
        """Actors are stopped by `agents/partitions.py`, which waits for them, bounded. Nothing else is pending."""
        async with asyncio.timeout(self.app.conf.broker_session_timeout / 2):
            await self.commit_and_end_transactions()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's livelock guesses know neither chunks nor markers; `syncmaster_marker_age_seconds` tells what they meant to."""


class ChunkTransport(driver.Transport):
    Consumer = ChunkConsumer
