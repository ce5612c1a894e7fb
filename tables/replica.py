"""Follows changelogs into stores: one mechanism for a worker's recovery, its standby partitions and the gateway's read replica.

A store knows its own position in each changelog (`PartitionStore.offset`), written in the same WriteBatch as the records; so
following can stop, move to another process and start again at any time. Recovery ends when the *position* reaches the end: the
last offset of a changelog is a commit marker, which nobody ever sees as a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from time import monotonic

import msgspec
import structlog

from streams import metrics
from streams.errors import Retriable
from streams.log_reader import TP, Fetched, LogReader, OutOfRange
from streams.logs import AWAY
from streams.topics import TABLES, Topics
from tables.fingerprint import Fingerprint
from tables.model import MARKER_KEY, Marker
from tables.store import Stores

log = structlog.get_logger(__name__)

#: About a megabyte of versions, which the processor's cache holds from the batch to the memtable.
_WRITTEN_AT_ONCE = 1000

#: Called with the partition and the keys of `artifacts` that have changed, after they are in the store.
OnChange = Callable[[int, Collection[bytes]], None]
#: Called with a partition whose store is dropped, before it is: everything that was known from it is void.
OnDrop = Callable[[int], None]


class Progress(msgspec.Struct, frozen=True):
    """How far a partition is, in changelog records of all its tables together."""

    applied: int
    end: int

    @property
    def remaining(self) -> int:
        return max(0, self.end - self.applied)


class Follower:
    """Brings the stores of some partitions up to date and keeps them so. Not concurrent: one task drives it."""

    def __init__(
        self,
        reader: LogReader,
        topics: Topics,
        stores: Stores,
        *,
        on_change: OnChange | None = None,
        on_drop: OnDrop | None = None,
    ) -> None:
        self._reader = reader
        self._stores = stores
        self._on_change = on_change
        self._on_drop = on_drop
        self._table_of = {topics.changelog(table): table for table in TABLES}
        self._topic_of = {table: topic for topic, table in self._table_of.items()}
        self._positions: dict[TP, int] = {}
        self._ends: dict[TP, int] = {}
        self._unconfirmed: dict[TP, Fingerprint] = {}  # what the changelog has to begin with

    async def assign(self, partitions: Iterable[int]) -> None:
        """Follow exactly these from where their stores are. A store that the changelogs contradict is dropped and rebuilt."""
        partitions = sorted(partitions)
        tps = [TP(topic, partition) for partition in partitions for topic in self._table_of]
        beginnings, self._ends = await self._reader.beginnings(tps), await self._reader.ends(tps)
        self._positions, self._unconfirmed = {}, {}
        for partition in partitions:
            self._positions |= self._start_positions(partition, beginnings)
        self._reader.assign(self._positions)

    def _start_positions(self, partition: int, beginnings: dict[TP, int]) -> dict[TP, int]:
        """Where reading begins: with the last record that was applied, to see that it is still there; and what is not to be applied again."""
        tps = {TP(topic, partition): table for topic, table in self._table_of.items()}
        store = self._stores.open(partition)
        offsets = {tp: store.offset(table) for tp, table in tps.items()}
        known = {tp: last for tp, table in tps.items() if offsets[tp] and (last := store.fingerprint(table))}
        outside = {tp for tp, offset in offsets.items() if offset and not beginnings[tp] <= offset <= self._ends[tp]}
        outside |= {tp for tp, last in known.items() if last.offset < beginnings[tp]}
        if outside:
            self._drop(partition, outside)
            return {tp: beginnings[tp] for tp in tps}
        self._unconfirmed |= known
        return {tp: max(offset, beginnings[tp]) for tp, offset in offsets.items()} | {
            tp: last.offset for tp, last in known.items()
        }

    def _drop(self, partition: int, changelogs: Iterable[TP]) -> None:
        log.warning(
            "store contradicts its changelog; it is rebuilt from there",
            partition=partition,
            changelogs=sorted(tp.topic for tp in changelogs),
        )
        if self._on_drop is not None:
            self._on_drop(partition)
        self._stores.drop(partition)
        self._stores.open(partition)

    async def poll(self, timeout_s: float) -> int:
        """Apply what has arrived. Returns how many records."""
        if not self._positions:
            await asyncio.sleep(timeout_s)
            return 0
        try:
            fetched = await self._reader.poll(timeout_s)
        except OutOfRange as exc:
            log.warning("positions are not in the changelogs any more; rebuilding", positions=str(exc))
            await self.assign({tp.partition for tp in self._positions})
            return 0
        strangers = await self._strangers(fetched)
        if strangers:
            for partition in {tp.partition for tp in strangers}:
                self._drop(partition, [tp for tp in strangers if tp.partition == partition])
            await self.assign({tp.partition for tp in self._positions})
            return 0
        return sum(self._apply(tp, batch) for tp, batch in fetched.items() if tp in self._positions)

    async def _strangers(self, fetched: dict[TP, Fetched]) -> list[TP]:
        """Changelogs that have something else where their store's last record was: another history, or what compaction left of this one."""
        strangers = []
        for tp, last in list(self._unconfirmed.items()):
            if tp in fetched:
                del self._unconfirmed[tp]
                if Fingerprint.of_record(fetched[tp].records[0]) != last:
                    strangers.append(tp)
            elif await self._reader.position(tp) > last.offset:
                strangers.append(tp)  # nothing there but control records
        return strangers

    def _apply(self, tp: TP, fetched: Fetched) -> int:
        table, store = self._table_of[tp.topic], self._stores[tp.partition]
        applied = store.offset(table)
        records = [record for record in fetched.records if record.offset >= applied]
        for begin in range(0, len(records) or 1, _WRITTEN_AT_ONCE):
            end = begin + _WRITTEN_AT_ONCE
            some = records[begin:end]
            batch = store.batch()
            for record in some:
                batch.apply(table, record.key, record.value)
            position = records[end].offset if end < len(records) else max(fetched.position, applied)
            batch.set_offset(table, position, Fingerprint.of_record((some or fetched.records)[-1]))
            store.write(batch)
        self._positions[tp] = fetched.position
        self._ends[tp] = max(self._ends[tp], fetched.position)
        metrics.RESTORE_RECORDS.inc(len(records))
        if self._on_change is not None and table == "artifacts":
            self._on_change(tp.partition, {record.key for record in records if record.key != MARKER_KEY})
        return len(records)

    async def refresh(self) -> None:
        """Take in positions that moved without records (commit markers) and ends that moved since."""
        await self.refresh_positions()
        self._ends |= await self._reader.ends(self._positions)

    async def refresh_positions(self) -> None:
        for tp, position in self._positions.items():
            if position < self._ends[tp] and tp not in self._unconfirmed:
                self._positions[tp] = await self._reader.position(tp)

    def caught_up(self) -> set[int]:
        """Partitions all of whose positions have reached the ends that were known when last asked."""
        behind = {tp.partition for tp, position in self._positions.items() if position < self._ends[tp]}
        return {tp.partition for tp in self._positions} - behind

    def progress(self) -> dict[int, Progress]:
        result: dict[int, Progress] = {}
        for tp, position in self._positions.items():
            before = result.get(tp.partition, Progress(0, 0))
            result[tp.partition] = Progress(before.applied + position, before.end + self._ends[tp])
        return result


async def restore(
    reader: LogReader,
    topics: Topics,
    stores: Stores,
    partitions: Collection[int],
    *,
    on_ready: Callable[[int], None],
    on_progress: Callable[[dict[int, Progress]], None] | None = None,
) -> None:
    """Bring the stores to the changelogs' ends; `on_ready` is called for each partition as soon as it is there.

    The partitions' writers must have been fenced before: nothing may be appended behind the ends that are read here.
    """
    follower = Follower(reader, topics, stores)
    await follower.assign(partitions)
    waiting, told_at = set(partitions), 0.0
    while True:
        await follower.refresh_positions()
        for partition in sorted(waiting & follower.caught_up()):
            waiting.discard(partition)
            on_ready(partition)
        if not waiting:
            return
        await follower.poll(0.2)
        if on_progress is not None and monotonic() - told_at > 1.0:
            told_at = monotonic()
            on_progress(follower.progress())


class Replica:
    """The changelogs of all partitions, followed for ever: what the gateway reads from."""

    #: How often the ends are asked for, to know the lag.
    ENDS_EVERY_S = 1.0

    def __init__(
        self, bootstrap: str, topics: Topics, partitions: int, stores: Stores, *, request_timeout_s: float = 30.0
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._partitions = partitions
        self._stores = stores
        self._request_timeout_s = request_timeout_s
        self._task: asyncio.Task[None] | None = None
        self._follower: Follower | None = None
        self._moved = asyncio.Condition()
        self.on_change: OnChange | None = None
        self.on_drop: OnDrop | None = None
        self.ready = False
        #: Monotonic time of the last answer from the log: what `/livez` looks at.
        self.polled_at_s = monotonic()

    async def start(self) -> None:
        for partition in range(self._partitions):
            self._stores.open(partition)
        self._task = asyncio.create_task(self._run(), name="replica")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._stores.close_all()

    def progress(self) -> dict[int, Progress]:
        return {} if self._follower is None else self._follower.progress()

    async def wait_marker(self, partition: int, reached: Callable[[Marker], bool], timeout_s: float) -> bool:
        """Wait until the partition's marker satisfies `reached` and its three tables are of one turn. False at the time-out."""

        def there() -> bool:
            store = self._stores[partition]  # asked for anew: a store may be dropped and rebuilt meanwhile
            return reached(store.marker()) and store.is_consistent()

        try:
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(there)
        except TimeoutError:
            return False
        return True

    async def _run(self) -> None:
        pause_s = 0.1
        while True:
            reader = LogReader(self._bootstrap, request_timeout_s=self._request_timeout_s)
            try:
                await reader.start()
                pause_s = 0.1
                await self._follow(reader)
            except Retriable as exc:
                AWAY.warning(log, "kafka", "the read replica cannot reach the log; trying again", error=str(exc))
            finally:
                await reader.aclose()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 10.0)

    async def _follow(self, reader: LogReader) -> None:
        follower = Follower(reader, self._topics, self._stores, on_change=self.on_change, on_drop=self.on_drop)
        await follower.assign(range(self._partitions))
        self._follower, asked_at = follower, monotonic()
        while True:
            count = await follower.poll(0.2)
            if monotonic() - asked_at > self.ENDS_EVERY_S or (count == 0 and not self.ready):
                await follower.refresh()
                asked_at = monotonic()
                metrics.REPLICA_LAG.set(sum(p.remaining for p in follower.progress().values()))
            self.polled_at_s = monotonic()
            self.ready = self.ready or len(follower.caught_up()) == self._partitions
            if count:
                async with self._moved:
                    self._moved.notify_all()
