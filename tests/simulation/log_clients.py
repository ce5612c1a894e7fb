"""How a process uses the log in memory: writer, reader, and an idempotent producer, with the same methods as those for Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import errors as kafka_errors

from streams.errors import Fatal, Retriable
from streams.log_append import LogAppender
from streams.log_reader import TP, Fetched, OutOfRange, Reconnected
from streams.log_transaction import Append, Record
from tests.simulation.log import SimulatedLog, Wait
from tests.simulation.wire import Lost, Wire

_ASKS_MAX = 3


class SimulatedWriter:
    """`streams.log_transaction.TransactionalWriter`: the same steps, each of them a moment at which anything may happen."""

    def __init__(self, log: SimulatedLog, wire: Wire, transactional_id: str, holder: str = "") -> None:
        self.transactional_id = transactional_id
        self._holder = holder
        self._log = log
        self._wire = wire
        self._epoch = -1

    async def init(self) -> None:
        self._epoch = await self._ask_coordinator(self._log.init_producer, self.transactional_id, self._holder)

    async def commit(self, appends: Sequence[Append], timestamp_ms: int) -> dict[tuple[str, int], int]:
        appends = [append for append in appends if append.records]
        tps = [TP(append.topic, append.partition) for append in appends]
        if self._log.version < 2:
            await self._ask_coordinator(self._log.add_partitions, self.transactional_id, self._epoch, tps)
        offsets: dict[tuple[str, int], int] = {}
        for batches in self._rounds(appends):
            for tp, offset in (await self._produce(batches, timestamp_ms)).items():
                offsets.setdefault(tuple(tp), offset)
        await self._end()
        return offsets

    def _rounds(self, appends: Sequence[Append]) -> Iterable[dict[TP, Sequence[Record]]]:
        """One request, or two where a batch is full: the second carries what did not fit."""
        cut = self._wire.loop.random.choice((1, 2, 100, 100))
        first = {TP(a.topic, a.partition): a.records[:cut] for a in appends}
        second = {TP(a.topic, a.partition): a.records[cut:] for a in appends if a.records[cut:]}
        return [first, second] if second else [first]

    async def _produce(self, batches: Mapping[TP, Sequence[Record]], timestamp_ms: int) -> dict[TP, int]:
        while True:
            try:
                return await self._wire.ask(self._log.produce, self.transactional_id, self._epoch, batches, timestamp_ms)
            except Lost as exc:
                raise Fatal(f"{self.transactional_id}: a produce request was not answered") from exc
            except Wait:  # nothing was appended
                await asyncio.sleep(0.002)

    async def _end(self) -> None:
        self._epoch = await self._ask_coordinator(self._log.end_transaction, self.transactional_id, self._epoch, lost_max=1)

    async def _ask_coordinator(self, server: Any, *args: Any, lost_max: int = _ASKS_MAX) -> Any:
        lost = 0
        while True:
            try:
                return await self._wire.ask(server, *args)
            except Wait:
                await asyncio.sleep(0.002)
            except Lost as exc:
                lost += 1
                if lost == lost_max:
                    raise Fatal(f"{self.transactional_id}: the log did not answer") from exc


class SimulatedReader:
    """`streams.log_reader.LogReader`."""

    def __init__(self, log: SimulatedLog, wire: Wire) -> None:
        self._log = log
        self._wire = wire
        self._positions: dict[TP, int] = {}
        self._losses: int | None = None  # whoever loses its tail cuts its connections

    async def start(self) -> None:
        await self._ask(lambda: None)

    async def aclose(self) -> None:
        return

    def assign(self, positions: Mapping[TP, int]) -> None:
        self._positions, self._losses = dict(positions), None

    async def poll(self, timeout_s: float, only: Iterable[TP] = (), records_max: int | None = None) -> dict[TP, Fetched]:
        until_s = self._wire.loop.time() + timeout_s
        while True:
            found, losses = await self._ask(self._fetch, dict(self._positions))
            if self._losses not in {None, losses}:
                raise Reconnected
            self._losses = losses
            for tp, (_, position) in found.items():
                if tp in self._positions:
                    self._positions[tp] = position
            records = {tp: Fetched(entries, position) for tp, (entries, position) in found.items() if entries}
            if records or self._wire.loop.time() >= until_s:
                return records
            await self._wait_append(until_s - self._wire.loop.time())

    async def position(self, tp: TP) -> int:
        return self._positions[tp]

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:
        return await self._ask(lambda wanted: {tp: self._log.partition(tp).stable for tp in wanted}, list(tps))

    async def beginnings(self, tps: Iterable[TP]) -> dict[TP, int]:
        return await self._ask(lambda wanted: {tp: self._log.partition(tp).beginning for tp in wanted}, list(tps))

    def _fetch(self, positions: Mapping[TP, int]) -> tuple[dict[TP, tuple[list[Any], int]], int]:
        logs = {tp: self._log.partition(tp) for tp in positions}
        outside = {tp: at for tp, at in positions.items() if not logs[tp].beginning <= at <= logs[tp].end}
        if outside:
            raise OutOfRange(outside)
        records_max = self._wire.loop.random.choice((1, 3, 50, 50))
        return {tp: logs[tp].read(position, records_max) for tp, position in positions.items()}, self._log.losses

    async def _wait_append(self, timeout_s: float) -> None:
        news = self._wire.loop.create_future()
        self._log.on_append(self._positions, lambda: news.done() or news.set_result(None))
        self._wire.loop.later(timeout_s, lambda: news.done() or news.set_result(None))
        await news

    async def _ask(self, server: Any, *args: Any) -> Any:
        try:
            return await self._wire.ask(server, *args)
        except Lost as exc:
            raise Retriable(f"the log is away: {exc!r}") from exc


class _Appended(NamedTuple):
    offset: int


class _Batch:
    """aiokafka's BatchBuilder."""

    def __init__(self, records_max: int) -> None:
        self.records: list[Record] = []
        self._records_max = records_max

    def append(self, *, timestamp: int, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> bool | None:
        if len(self.records) >= self._records_max:
            return None
        self.records.append((key, value, headers))
        return True

    def record_count(self) -> int:
        return len(self.records)


class _Producer:
    """What `LogAppender` uses of aiokafka's producer. After `close` nothing is sent that was not on its way."""

    class _Sender:
        sender_task = None

    def __init__(self, log: SimulatedLog, wire: Wire) -> None:
        self._log = log
        self._wire = wire
        self._closed = False
        self._sender = self._Sender()
        self._losses = log.losses
        self.client = self

    async def start(self) -> None:
        try:
            await self._wire.ask(lambda: None)
        except Lost as exc:
            raise kafka_errors.KafkaConnectionError from exc

    async def close(self) -> None:
        self._closed = True

    async def send_batch(self, batch: _Batch, topic: str, *, partition: int) -> asyncio.Task[_Appended]:
        return asyncio.ensure_future(self._send(TP(topic, partition), batch.records))

    async def _send(self, tp: TP, records: list[Record]) -> _Appended:
        if self._closed:
            raise kafka_errors.ProducerClosed
        try:
            return _Appended(await self._wire.ask(self._append, tp, records))
        except Lost as exc:
            raise kafka_errors.RequestTimedOutError from exc

    def _append(self, tp: TP, records: list[Record]) -> int:
        if self._losses != self._log.losses:
            raise kafka_errors.OutOfOrderSequenceNumber
        if self._log.refuses(tp, records):
            raise kafka_errors.NotEnoughReplicasError
        return self._log.append(tp, records)


class SimulatedAppender(LogAppender):
    """The bridge's own appender over a producer in memory."""

    def __init__(self, log: SimulatedLog, wire: Wire, topic: str) -> None:
        self._topic = topic
        self._timeout_s = 10.0
        self._failed = False
        self._random = wire.loop.random
        self._producer = _Producer(log, wire)

    def new_batch(self) -> Any:
        return _Batch(self._random.choice((1, 2, 100)))
