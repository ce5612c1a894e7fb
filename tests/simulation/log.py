"""The log in memory, as Kafka behaves: offsets with control markers, transactions, producer epochs, the last stable offset.

Only the server is here; how a process asks it: `log_clients.py`. What is modelled, because something could lean on it:

* With `version` 2 of the protocol a produce request begins the transaction and adds its partitions, and the end of one raises the epoch.
* `end_transaction` answers when the outcome is decided; the marker of each partition is written later, one by one, and takes an offset. Until
  then the last stable offset of that partition stands still, and every further request of that transactional id is told to wait.
* `init_producer` of an id with an open transaction aborts it and raises the epoch; it answers only when all markers are written.
* A transaction that nobody ends is aborted after its time-out, with a new epoch.
* A plain append is visible at once, though never beyond an open transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from streams.errors import Fatal, Fenced
from streams.log_reader import TP
from streams.log_transaction import Record
from tests.simulation.loop import SimulatedLoop


class Wait(Exception):
    """CONCURRENT_TRANSACTIONS: ask again, soon."""


class Transaction:
    def __init__(self, ident: str, epoch: int) -> None:
        self.ident = ident
        self.epoch = epoch
        self.state = "open"  # open, committed, aborted
        self.tps: dict[TP, None] = {}


class Entry:
    """A record as readers see it (aiokafka's names), or a control marker, which none of them ever sees."""

    __slots__ = ("headers", "is_marker", "key", "offset", "timestamp", "transaction", "value")

    def __init__(
        self, offset: int, record: Record, timestamp: int, transaction: Transaction | None, *, is_marker: bool = False
    ) -> None:
        self.offset = offset
        self.key, self.value = record[0], record[1]
        self.headers = tuple(record[2])
        self.timestamp = timestamp
        self.transaction = transaction
        self.is_marker = is_marker

    @property
    def is_visible(self) -> bool:
        """To readers of committed records, below the last stable offset."""
        return not self.is_marker and (self.transaction is None or self.transaction.state == "committed")


class PartitionLog:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.beginning = 0
        self.open: dict[Transaction, int] = {}  # first offset of each transaction whose marker is not written

    @property
    def end(self) -> int:
        return self.beginning + len(self.entries)

    @property
    def stable(self) -> int:
        return min(self.open.values()) if self.open else self.beginning + len(self.entries)

    def append(self, records: Iterable[Record], timestamp: int, transaction: Transaction | None = None) -> int:
        first = self.end
        for record in records:
            self.entries.append(Entry(self.end, record, timestamp, transaction))
        if transaction is not None and self.end > first:
            self.open.setdefault(transaction, first)
        return first

    def mark(self, transaction: Transaction) -> None:
        self.entries.append(Entry(self.end, (None, None, []), 0, transaction, is_marker=True))
        self.open.pop(transaction, None)

    def read(self, position: int, records_max: int) -> tuple[list[Entry], int]:
        """Committed records from `position`, and the position behind what was looked at."""
        found: list[Entry] = []
        stable = self.stable
        while position < stable and len(found) < records_max:
            entry = self.entries[position - self.beginning]
            position += 1
            if entry.is_visible:
                found.append(entry)
        return found, position

    def committed(self) -> list[Entry]:
        return self.read(self.beginning, len(self.entries) + 1)[0]


class _Producer:
    def __init__(self) -> None:
        self.epoch = -1
        self.holder = ""
        self.current: Transaction | None = None
        self.is_ending = False
        self.last: Transaction | None = None
        self.is_out_of_sequence = False


class SimulatedLog:
    def __init__(
        self, loop: SimulatedLoop, *, transaction_timeout_s: float = 20.0, marker_s_max: float = 0.03, version: int = 2
    ) -> None:
        self._loop = loop
        self.version = version
        self._timeout_s = transaction_timeout_s
        self._marker_s_max = marker_s_max
        self._producers: dict[str, _Producer] = {}
        self._partitions: dict[TP, PartitionLog] = {}
        self.losses = 0
        self._listeners: dict[TP, list[Callable[[], None]]] = {}
        self.refuses: Callable[[TP, Sequence[Record]], bool] = lambda tp, records: False

    def partition(self, tp: TP) -> PartitionLog:
        found = self._partitions.get(tp)
        if found is None:
            found = self._partitions[tp] = PartitionLog()
        return found

    def holder(self, ident: str) -> str:
        """Who has initialised the transactional id last."""
        producer = self._producers.get(ident)
        return producer.holder if producer is not None else ""

    def on_append(self, tps: Iterable[TP], listener: Callable[[], None]) -> None:
        """Called at the next append or marker of each, once."""
        for tp in tps:
            self._listeners.setdefault(tp, []).append(listener)

    def append(self, tp: TP, records: Sequence[Record], timestamp: int = 0) -> int:
        """Outside of any transaction; returns the first offset."""
        first = self.partition(tp).append(records, timestamp)
        self._tell(tp)
        return first

    # -- transactions ------------------------------------------------------------------------------------------------------------

    def init_producer(self, ident: str, holder: str) -> int:
        producer = self._producers.setdefault(ident, _Producer())
        if producer.is_ending:
            raise Wait
        if producer.current is not None:
            producer.epoch += 1
            self._finish(producer, "aborted")
            raise Wait
        producer.epoch += 1
        producer.holder = holder
        producer.is_out_of_sequence = False
        return producer.epoch

    def add_partitions(self, ident: str, epoch: int, tps: Iterable[TP]) -> None:
        producer = self._of(ident, epoch)
        if producer.current is None:
            producer.current = Transaction(ident, epoch)
            self._loop.later(self._timeout_s, self._time_out, producer, producer.current)
        producer.current.tps |= dict.fromkeys(tps)

    def produce(self, ident: str, epoch: int, batches: Mapping[TP, Sequence[Record]], timestamp: int) -> dict[TP, int]:
        producer = self._of(ident, epoch)
        if producer.is_out_of_sequence:
            raise Fatal(f"{ident}: out of sequence")
        if self.version >= 2:
            self.add_partitions(ident, epoch, batches)
        offsets: dict[TP, int] = {}
        for tp, records in batches.items():
            if producer.current is None or tp not in producer.current.tps:
                raise Fatal(f"{ident}: no transaction is open for {tp}")
            if self.refuses(tp, records):
                raise Fatal(f"{ident}: {tp} refuses its batch")
            offsets[tp] = self.partition(tp).append(records, timestamp, producer.current)
        return offsets

    def end_transaction(self, ident: str, epoch: int, *, commit: bool = True) -> int:
        """The epoch of the next transaction."""
        producer = self._producers[ident]
        wanted = "committed" if commit else "aborted"
        if epoch < producer.epoch:
            raise Fenced(f"{ident}: epoch {epoch} is over, {producer.epoch} is in force")
        if producer.current is None or producer.is_ending:
            ended = producer.current or producer.last
            if ended is None or ended.state != wanted:
                raise Fatal(f"{ident}: there is no transaction to end")
            return producer.epoch  # asked again, because the answer was lost
        if self.version >= 2:
            producer.epoch += 1
        self._finish(producer, wanted)
        return producer.epoch

    def _of(self, ident: str, epoch: int) -> _Producer:
        producer = self._producers[ident]
        if epoch < producer.epoch:
            raise Fenced(f"{ident}: epoch {epoch} is over, {producer.epoch} is in force")
        if producer.is_ending:
            raise Wait
        return producer

    def _finish(self, producer: _Producer, state: str) -> None:
        """The outcome is decided; the markers follow in any order."""
        transaction = producer.current
        assert transaction is not None
        transaction.state, producer.is_ending = state, True
        left = list(transaction.tps)
        self._loop.random.shuffle(left)
        self._write_marker(producer, transaction, left)

    def _write_marker(self, producer: _Producer, transaction: Transaction, left: list[TP]) -> None:
        if producer.current is not transaction:
            return  # the log went back to before
        if not left:
            producer.is_ending, producer.current, producer.last = False, None, transaction
            return
        tp = left.pop()
        self.partition(tp).mark(transaction)
        self._tell(tp)
        if left and self._loop.random.random() < 0.5:
            self._loop.later(self._loop.random.random() * self._marker_s_max, self._write_marker, producer, transaction, left)
        else:
            self._write_marker(producer, transaction, left)

    def _time_out(self, producer: _Producer, transaction: Transaction) -> None:
        if producer.current is transaction and not producer.is_ending:
            producer.epoch += 1
            self._finish(producer, "aborted")

    def _tell(self, tp: TP) -> None:
        for listener in self._listeners.pop(tp, ()):
            listener()

    # -- what an old copy of the disk does ----------------------------------------------------------------------------------------

    def lengths(self) -> dict[TP, int]:
        return {tp: partition.end for tp, partition in self._partitions.items()}

    def lose_tail(self, lengths: Mapping[TP, int]) -> None:
        """Go back to the `lengths` of earlier. What was open then is aborted; producers that lost records are out of sequence."""
        self.losses += 1
        for tp, partition in self._partitions.items():
            lost = partition.entries[max(lengths.get(tp, 0) - partition.beginning, 0) :]
            del partition.entries[len(partition.entries) - len(lost) :]
            for transaction in {entry.transaction: None for entry in lost if entry.transaction is not None}:
                self._producers[transaction.ident].is_out_of_sequence = True
            ended = {entry.transaction for entry in partition.entries if entry.is_marker}
            for transaction in {
                e.transaction: None for e in partition.entries if e.transaction is not None and e.transaction not in ended
            }:
                transaction.state = "aborted"
                partition.mark(transaction)
            partition.open.clear()
        for producer in self._producers.values():
            producer.current, producer.is_ending, producer.last = None, False, None
        for tp in self._partitions:
            self._tell(tp)


__all__ = ["Entry", "SimulatedLog", "Transaction", "Wait"]
