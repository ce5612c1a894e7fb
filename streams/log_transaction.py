"""A partition's right to write: one Kafka transaction per call, on aiokafka's client and record builder. Reading: `log_reader.py`.

Why not AIOKafkaProducer: it commits around a failed batch, sends a chunk in requests that it chooses itself, waits 20 ms between small
transactions, and needs a connection and a sender task for every transactional id. Here a transaction is two plain steps

    Produce (all topic-partitions at once; more rounds only for what exceeds a batch) -> EndTxn(commit)

and the invariant is short: *EndTxn(commit) is sent only after every batch was acknowledged; after any doubt nothing more is sent by this
epoch.* A doubt raises; the owner then calls `init` again, which fences this epoch, waits for the outcome of what was in flight, and
after which the changelog tells whether the transaction happened. So no error needs to be told apart from another, except `Fenced`.

A cluster that does not speak version 2 of the protocol (`transaction_protocol.py`) gets AddPartitionsToTxn before the first step, and keeps the
epoch from one transaction to the next.

`init` also fences whoever had the partition before; it must be called before recovery reads the changelog's end.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.api import Request
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from streams.errors import Fatal, Fenced
from streams.record_batch import Record, build_batch
from streams.transaction_protocol import EndTransaction, ProduceInTransaction, transaction_version

#: The coordinator is there but not ready: ask again, soon. Everything else is a doubt.
_WAIT = (
    kafka_errors.ConcurrentTransactions,
    kafka_errors.GroupLoadInProgressError,
    kafka_errors.GroupCoordinatorNotAvailableError,
    kafka_errors.NotCoordinatorForGroupError,
    kafka_errors.NodeNotReadyError,
    kafka_errors.KafkaConnectionError,
    kafka_errors.RequestTimedOutError,
    kafka_errors.UnknownTopicOrPartitionError,
)
#: The broker says that it did not even try to append: the same batch may go to another.
_NOT_APPENDED = frozenset(
    error.errno
    for error in (
        kafka_errors.NotLeaderForPartitionError,
        kafka_errors.LeaderNotAvailableError,
        kafka_errors.UnknownTopicOrPartitionError,
        kafka_errors.ConcurrentTransactions,  # the markers of the transaction before are still being written
    )
)
_PRODUCER_FENCED = 90  # which newer requests are answered with, and aiokafka does not know
_FENCED = (kafka_errors.InvalidProducerEpoch, kafka_errors.ProducerFenced, kafka_errors.InvalidProducerIdMapping)


class Append(msgspec.Struct):
    """Records for one topic-partition, in order."""

    topic: str
    partition: int
    records: Sequence[Record]


class TransactionalWriter:
    """Writes transactions under one transactional id. Not concurrent: one `commit` at a time."""

    def __init__(
        self,
        client: AIOKafkaClient,
        transactional_id: str,
        *,
        transaction_timeout_s: float,
        deadline_s: float,
        batch_bytes_max: int,
        before_produce: Callable[[int], Awaitable[None]] | None = None,
        version_max: int = 2,
    ) -> None:
        self.transactional_id = transactional_id
        self._client = client
        self._transaction_timeout_ms = int(transaction_timeout_s * 1000)
        self._deadline_s = deadline_s
        self._batch_bytes_max = batch_bytes_max
        self._before_produce = before_produce  # fault injection: called with the number of the produce round
        self._version_max = version_max
        self._version = 1
        self._coordinator: int | None = None
        self._producer_id = -1
        self._epoch = -1
        self._sequences: defaultdict[TopicPartition, int] = defaultdict(int)

    async def init(self) -> None:
        """Take the transactional id over: later than this, no earlier holder can commit. Raises Fatal at the deadline."""
        request = InitProducerIdRequest(self.transactional_id, self._transaction_timeout_ms)
        response = await self._ask_coordinator(lambda: request, lambda r: [r.error_code])
        self._begin_epoch(response)
        self._version = min(self._version_max, await self._agreed_version())

    async def _agreed_version(self) -> int:
        assert self._coordinator is not None
        try:
            return await transaction_version(self._client, self._coordinator)
        except kafka_errors.KafkaError as exc:
            raise Fatal(f"{self.transactional_id}: the log does not say what it speaks ({exc!r})") from exc

    def _begin_epoch(self, response: Any) -> None:
        self._producer_id, self._epoch = response.producer_id, response.producer_epoch
        self._sequences.clear()

    async def commit(self, appends: Sequence[Append], timestamp_ms: int) -> dict[tuple[str, int], int]:
        """Append all and commit. Returns the offset of the first record per (topic, partition).

        Raises Fenced when another writer has taken over, Fatal after any other doubt: whether it happened, only the log knows.
        """
        appends = [append for append in appends if append.records]
        if self._version < 2:
            await self._add_partitions(appends)
        base_offsets = await self._produce(appends, timestamp_ms)
        await self._end()
        return base_offsets

    # -- steps ---------------------------------------------------------------------------------------------------------------

    async def _add_partitions(self, appends: Sequence[Append]) -> None:
        topics: defaultdict[str, list[int]] = defaultdict(list)
        for append in appends:
            topics[append.topic].append(append.partition)
        request = AddPartitionsToTxnRequest(self.transactional_id, self._producer_id, self._epoch, list(topics.items()))
        await self._ask_coordinator(lambda: request, lambda r: [code for _, parts in r.errors for _, code in parts])

    async def _produce(self, appends: Sequence[Append], timestamp_ms: int) -> dict[tuple[str, int], int]:
        pending = [(append, iter(self._batches(append, timestamp_ms))) for append in appends]
        base_offsets: dict[tuple[str, int], int] = {}
        number = 0
        while pending:
            batches: dict[TopicPartition, bytes] = {}
            for append, left in list(pending):
                batch = next(left, None)
                if batch is None:
                    pending.remove((append, left))
                else:
                    batches[TopicPartition(append.topic, append.partition)] = batch
            if batches:
                if self._before_produce is not None:
                    await self._before_produce(number)
                number += 1
                for tp, offset in (await self._produce_round(batches)).items():
                    base_offsets.setdefault((tp.topic, tp.partition), offset)
        return base_offsets

    def _batches(self, append: Append, timestamp_ms: int) -> Iterator[bytes]:
        """Record batches of at most `batch_bytes_max`, built one after the other: sequence numbers must follow each other."""
        tp, start = TopicPartition(append.topic, append.partition), 0
        while start < len(append.records):
            batch, count = build_batch(
                islice(append.records, start, None),
                timestamp_ms=timestamp_ms,
                producer_id=self._producer_id,
                epoch=self._epoch,
                sequence=self._sequences[tp],
                transactional=True,
                bytes_max=self._batch_bytes_max,
            )
            start += count
            self._sequences[tp] = (self._sequences[tp] + count) & 0x7FFFFFFF
            yield batch

    async def _produce_round(self, batches: dict[TopicPartition, bytes]) -> dict[TopicPartition, int]:
        """One batch per topic-partition. Those that a broker did not take, because it does not lead (yet, any more), go to who does."""
        deadline, offsets = time.monotonic() + self._deadline_s, dict[TopicPartition, int]()
        while True:
            by_leader: defaultdict[int, defaultdict[str, list[tuple[int, bytes]]]] = defaultdict(lambda: defaultdict(list))
            for tp, batch in batches.items():
                by_leader[await self._leader(tp)][tp.topic].append((tp.partition, batch))
            sent = [self._send_produce(node, topics) for node, topics in by_leader.items()]
            # Tasks would cost three rounds of a busy loop before and after the request's own.
            for answer in [await sent[0]] if len(sent) == 1 else await asyncio.gather(*sent):
                offsets |= answer
            batches = {tp: batch for tp, batch in batches.items() if tp not in offsets}
            if not batches:
                return offsets
            if time.monotonic() > deadline:
                raise Fatal(f"{self.transactional_id}: no broker leads {sorted(batches)} for {self._deadline_s:g} s")
            await asyncio.sleep(0.02)
            await self._client.force_metadata_update()

    async def _send_produce(self, node: int, topics: dict[str, list[tuple[int, bytes]]]) -> dict[TopicPartition, int]:
        """The first offsets of what was appended; topic-partitions that the broker does not lead are left out."""
        request = self._produce_request(list(topics.items()))
        offsets: dict[TopicPartition, int] = {}
        try:
            response = await self._client.send(node, request)
        except kafka_errors.KafkaError as exc:
            raise Fatal(
                f"{self.transactional_id}: a produce request was not answered ({exc!r}); working again from the marker"
            ) from exc
        for topic, partitions, *_tags in response.topics:
            for partition, code, offset, *_more in partitions:
                if code not in _NOT_APPENDED:
                    self._raise_for(code, f"produce to {topic}-{partition}")
                    offsets[TopicPartition(topic, partition)] = offset
        return offsets

    def _produce_request(self, topics: list[tuple[str, list[tuple[int, bytes]]]]) -> Request[Any]:
        timeout_ms = int(self._deadline_s * 1000)
        if self._version < 2:
            return ProduceRequest(self.transactional_id, -1, timeout_ms, topics)
        return ProduceInTransaction(self.transactional_id, timeout_ms, topics)

    async def _end(self) -> None:
        """Sent again only when the coordinator has answered: one that is still on its way would end the next transaction, half of it, where
        both have the same epoch (KIP-890)."""
        kind = EndTxnRequest if self._version < 2 else EndTransaction
        request = kind(self.transactional_id, self._producer_id, self._epoch, True)
        response = await self._ask_coordinator(lambda: request, lambda r: [r.error_code], repeats=False)
        if self._version >= 2:
            self._begin_epoch(response)

    # -- talking to brokers --------------------------------------------------------------------------------------------------

    async def _ask_coordinator(self, make: Callable[[], Any], codes: Callable[[Any], list[int]], *, repeats: bool = True) -> Any:
        """Ask until the coordinator is ready or the deadline passes; one that was not answered `repeats`, or raises Fatal."""
        deadline = time.monotonic() + self._deadline_s
        pause_s = 0.001
        while True:
            try:
                if self._coordinator is None:
                    self._coordinator = await self._client.coordinator_lookup(CoordinationType.TRANSACTION, self.transactional_id)
                    await self._client.ready(self._coordinator, group=ConnectionGroup.COORDINATION)
                response = await self._send_to_coordinator(make(), repeats=repeats)
                for code in codes(response):
                    if code and issubclass(kafka_errors.for_code(code), _WAIT):
                        raise kafka_errors.for_code(code)()
                    self._raise_for(code, type(response).__name__)
                return response
            except _WAIT as exc:
                if not isinstance(exc, kafka_errors.ConcurrentTransactions):
                    self._coordinator = None
                    pause_s = max(pause_s, 0.05)
                if time.monotonic() + pause_s > deadline:
                    raise Fatal(f"{self.transactional_id}: the log did not answer for {self._deadline_s:g} s ({exc!r})") from exc
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.5)

    async def _send_to_coordinator(self, request: Any, *, repeats: bool) -> Any:
        try:
            return await self._client.send(self._coordinator, request, group=ConnectionGroup.COORDINATION)
        except (kafka_errors.KafkaConnectionError, kafka_errors.RequestTimedOutError) as exc:
            if not repeats:
                raise Fatal(f"{self.transactional_id}: {type(request).__name__} was not answered ({exc!r})") from exc
            raise

    async def _leader(self, tp: TopicPartition) -> int:
        for _ in range(2):
            node = self._client.cluster.leader_for_partition(tp)
            if node is not None and node != -1:
                return int(node)
            self._client.add_topic(tp.topic)
            await self._client.force_metadata_update()
        raise Fatal(f"{tp.topic}-{tp.partition} has no leader; is the topic there and the log healthy?")

    def _raise_for(self, code: int, what: str) -> None:
        if code == 0:
            return
        error = kafka_errors.for_code(code)
        if code == _PRODUCER_FENCED or issubclass(error, _FENCED):
            raise Fenced(f"{self.transactional_id}: {what}: another writer has taken over ({error.__name__})")
        raise Fatal(f"{self.transactional_id}: {what} was refused: {error.__name__}")


async def connect(bootstrap: str, *, request_timeout_s: float) -> AIOKafkaClient:
    """A started client; the caller closes it. Many writers may share one."""
    client = AIOKafkaClient(
        bootstrap_servers=bootstrap,
        client_id="syncmaster-writer",
        request_timeout_ms=int(request_timeout_s * 1000),
        metadata_max_age_ms=60_000,
    )
    await client.bootstrap()
    return client
