"""The artifact actor: one task that owns a partition. Mailboxes in, one transaction per turn out. How a turn is judged: `pipeline.py`.

Nothing else ever writes an artifact's state. The invariants:

* A turn is one Kafka transaction (state, marker, audit, log outputs), then one RocksDB WriteBatch, then the sink actors hear of it.
  If the transaction fails in any way, the actor ends; `partitions.py` starts it again from the marker. Nothing is repaired in place.
* A chunk is taken only if it begins exactly where the last one ended. After a seek, or when Faust drops what it had fetched, an older
  fetch may still arrive; taking it would leave a hole that dedup by mark would make permanent.
  Going back is no hole: when the log lost its tail, other events stand at offsets that were taken before, and dedup drops the rest.
* A chunk that came over another connection is not taken: the log may have lost its tail in between and have grown again to where
  the consumer was. The partition starts again, which compares what stands before its positions with what stood there.
* Offering never waits: a mailbox above its bound pauses its own topic-partition and takes what is still on the way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any, Protocol

import structlog

from agents.clock import Clock
from agents.config_change import has_changed
from agents.hold_watch import HoldWatch
from agents.holds import has_released, waits_for_release
from agents.pace import Pace
from agents.pipeline import Turn
from agents.rules import Rules
from agents.sinks.base import Receipt
from agents.turn import Outcome, Work
from streams import metrics
from streams.chunks import Chunk
from streams.errors import Away, Fatal
from streams.log_transaction import Append
from streams.settings import Worker
from streams.topics import TABLES, Topics
from tables.fingerprint import Fingerprint
from tables.model import Head, Marker, Version
from tables.overlay import Overlay, decode_head, decode_version
from tables.store import Batch, PartitionStore

log = structlog.get_logger(__name__)

_COMMANDS_PER_TURN_MAX = 1000
_RECEIPTS_PER_TURN_MAX = 2000
_REWINDS_MAX = 5
#: How long a turn waits to know what is held; after that, records for components that read the log wait instead.
_CONTROL_S_MAX = 1.0


class Writer(Protocol):
    async def commit(self, appends: list[Append], timestamp_ms: int) -> dict[tuple[str, int], int]: ...


class Flow(Protocol):
    """What the actor asks of the shared consumer. None of it waits."""

    def full(self, topic: str, partition: int) -> None: ...

    def drained(self, topic: str, partition: int) -> None: ...

    def rewind(self, topic: str, partition: int, offset: int) -> None:
        """Fetch again from here: what arrived does not follow what was taken."""

    def finished(self, topic: str, partition: int, next_offset: int) -> None: ...


class Mailbox:
    """Chunks of one topic-partition, in order and without holes."""

    def __init__(
        self,
        topic: str,
        partition: int,
        position: int,
        chunks_max: int,
        flow: Flow,
        *,
        connection: int = 0,
        may_go_back: bool = False,
    ) -> None:
        """`may_go_back`: taking records again does no harm, because they have identities that dedup knows."""
        self.topic = topic
        self.next_offset = position  # the first offset not yet taken
        self.taken = position  # what has gone into turns; beyond the last record of the turn where only markers follow
        self.is_cut_off = False  # what comes now comes over another connection
        self._connection = connection
        self._may_go_back = may_go_back
        self._has_begun = False
        self._partition = partition
        self._chunks: deque[Chunk] = deque()
        self._chunks_max = chunks_max
        self._flow = flow
        self._is_full = False
        self._rewound_at_s = float("-inf")  # in the loop's time
        self._rewinds = 0  # in a row, without anything that followed

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def offer(self, chunk: Chunk) -> bool:
        """Take what follows of the chunk; False if nothing does."""
        if self.is_cut_off or chunk.connection != self._connection:
            self.is_cut_off |= chunk.connection > self._connection  # else it was on its way when the partition began
            return False
        if self._has_begun and self._may_go_back and chunk.first < self.next_offset:
            # The consumer was sent back, because the log ends before where it was: other records now stand at offsets taken before.
            log.warning("reading again what was read before", topic=self.topic, at=chunk.first, expected=self.next_offset)
            self.next_offset = chunk.first
        if chunk.last < self.next_offset:
            return False
        if chunk.first > self.next_offset:
            self._refuse(chunk)
            return False
        if chunk.first < self.next_offset:  # fetched again after a seek: its beginning has been taken
            left = [record for record in chunk.records if record.offset >= self.next_offset]
            chunk = Chunk(chunk.topic, chunk.partition, left, self.next_offset, chunk.end)
        self._has_begun = True
        self._rewound_at_s, self._rewinds = float("-inf"), 0
        self.next_offset = chunk.behind
        self._chunks.append(chunk)
        metrics.CHUNK_RECORDS.labels(self.topic).observe(len(chunk.records))
        if len(self._chunks) >= self._chunks_max:  # said again for each that comes all the same: a seek starts the fetching
            self._is_full = True
            self._flow.full(self.topic, self._partition)
        return True

    def _refuse(self, chunk: Chunk) -> None:
        """Have what is missing fetched: once, though several chunks behind the hole may be on their way."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._rewound_at_s > 1.0:
            self._rewound_at_s = now_s
            self._rewinds += 1
            log.info("chunk does not follow; reading again", topic=self.topic, at=chunk.first, expected=self.next_offset)
            self._flow.rewind(self.topic, self._partition, self.next_offset)

    @property
    def misses_records(self) -> bool:
        """What follows has been asked for again and again and did not come: the log has it no more (retention, a purge)."""
        return self._rewinds > _REWINDS_MAX

    @property
    def is_full(self) -> bool:
        """Nothing more is fetched until some is taken."""
        return self._is_full

    def take(self, records_max: int, bytes_max: int) -> list[Any]:
        """Records of the first chunk, and of those behind it as far as they stay within a chunk's bounds together."""
        chunk = self._chunks.popleft()
        records, self.taken = chunk.records, chunk.behind
        room = bytes_max - chunk.value_bytes if self._chunks else 0
        while self._chunks and len(records) + len(self._chunks[0].records) <= records_max:
            room -= self._chunks[0].value_bytes
            if room < 0:
                break
            records, self.taken = records + self._chunks[0].records, self._chunks.popleft().behind
        if self._is_full and len(self._chunks) <= self._chunks_max // 2:
            self._is_full = False
            self._flow.drained(self.topic, self._partition)
        return records


class ArtifactActor:
    """Owns one partition while it runs. It is also the `PartitionView` of the sink actors: they see committed state only."""

    def __init__(
        self,
        partition: int,
        *,
        marker: Marker,
        topics: Topics,
        rules: Rules,
        store: PartitionStore,
        writer: Writer,
        flow: Flow,
        watch: HoldWatch,
        clock: Clock,
        on_commit: Callable[[int, list[str]], None],
        worker: Worker,
        connections: Mapping[str, int] | None = None,
    ) -> None:
        """`connections`: by topic, the number of the one that its chunks come over."""
        self.partition = partition
        self.marker = marker
        self.moved_at_s = monotonic()
        self._topics = topics
        self._rules = rules
        self.store = store
        self._writer = writer
        self._flow = flow
        self._watch = watch
        self._clock = clock
        self._on_commit = on_commit
        self._overlay = Overlay(store)
        of, chunks_max = connections or {}, worker.mailbox_chunks_max
        self._events = Mailbox(
            topics.events, partition, marker.events, chunks_max, flow, connection=of.get(topics.events, 0), may_go_back=True
        )
        self._commands = Mailbox(
            topics.commands, partition, marker.commands, chunks_max, flow, connection=of.get(topics.commands, 0)
        )
        self._read: dict[str, int] = {}  # what is in the state, and the transactions' markers behind it
        self._receipts: deque[Receipt] = deque()
        self._worker = worker
        self._pace = Pace(worker.turn_interval_s)
        self._receipts_many = min(_RECEIPTS_PER_TURN_MAX, worker.mailbox_receipts_max // 2)
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = False

    # -- mailboxes -------------------------------------------------------------------------------------------------------------

    def offer(self, chunk: Chunk) -> None:
        mailbox = self._events if chunk.topic == self._topics.events else self._commands
        if mailbox.offer(chunk) or mailbox.misses_records or mailbox.is_cut_off:
            self._pace.want()
        if mailbox.is_full or len(chunk.records) >= self._worker.chunk_records_max // 2:
            self._pace.hurry()

    async def receive(self, receipt: Receipt) -> None:
        while len(self._receipts) >= self._worker.mailbox_receipts_max and not self._stopping:
            self._room.clear()
            await self._room.wait()
        if not self._stopping:
            self._receipts.append(receipt)
            self._want_receipts_turn()

    def _want_receipts_turn(self) -> None:
        """Receipts wait for the next events, a moment at most: nobody waits for their commit."""
        if len(self._receipts) > self._receipts_many:
            self._pace.hurry()
        elif self._receipts:
            self._pace.want(self._worker.receipts_wait_s)

    @property
    def has_work(self) -> bool:
        return bool(self._events or self._commands or self._receipts)

    def positions(self) -> dict[str, int]:
        """The next offset of each topic that is not in the state yet."""
        known = {self._topics.events: self.marker.events, self._topics.commands: self.marker.commands}
        return {topic: max(position, self._read.get(topic, 0)) for topic, position in known.items()}

    # -- the committed state, for sink actors ----------------------------------------------------------------------------------

    def head(self, artifact: str) -> Head | None:
        raw = self.store.get("artifacts", artifact.encode())
        return None if raw is None else decode_head(raw)

    def version(self, artifact: str, version: str) -> Version | None:
        raw = self.store.get("versions", artifact.encode() + b"\0" + version.encode())
        return None if raw is None else decode_version(raw)

    def versions_after(self, artifact: str, generation: int) -> Iterator[tuple[int, str]]:
        return self.store.versions_after(artifact, generation)

    def heads(self, after: str = "") -> Iterator[tuple[str, Head]]:
        for key, raw in self.store.scan("artifacts", after=after.encode() if after else None):
            yield key.decode(), decode_head(raw)

    # -- turns -----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turn after turn until `stop`. Raises Fenced or Fatal when the partition must be started again from the marker."""
        while not self._stopping:
            await self._wait_work()
            for mailbox in (self._events, self._commands):
                if mailbox.is_cut_off:
                    raise Away(f"{mailbox.topic} comes over another connection; looking at what the log still has")
                if mailbox.misses_records:
                    raise Fatal(f"{mailbox.topic} does not bring offset {mailbox.next_offset}; looking at what the log still has")
            if self._rules.routing.has_logs:
                await self._watch.wait_current(_CONTROL_S_MAX)
            if self.has_work or self._has_left_over():
                if not self._stopping:
                    await self._turn(self._take())
            else:  # what was wanted is gone
                self._pace.begin()

    async def _wait_work(self) -> None:
        """Looks up now and then while records wait for a release: nobody tells when it is known again what is held."""
        while not (self._pace.is_due() or self._has_left_over()):
            await self._pace.wait(_CONTROL_S_MAX if waits_for_release(self.marker) else None)

    def holds_changed(self) -> None:
        """Records that waited for a release may be written now."""
        self._pace.want()

    def _has_left_over(self) -> bool:
        """Work that the state itself says is left."""
        if self.marker.routing != self._rules.routing.hash or self._overlay.draining:
            return True
        if has_changed(self.marker, self._rules.config_hash):
            return True
        return has_released(self.marker, self._watch.in_effect())

    def stop(self) -> None:
        """No further turn; the one under way finishes."""
        self._stopping = True
        self._pace.hurry()
        self._room.set()

    def _take(self) -> Work:
        self._pace.begin()
        work = Work(receipts=[self._receipts.popleft() for _ in range(min(len(self._receipts), _RECEIPTS_PER_TURN_MAX))])
        self._room.set()
        if self._commands:
            work.commands = self._commands.take(_COMMANDS_PER_TURN_MAX, self._worker.chunk_bytes_max)
        if self._events:
            work.events = self._events.take(self._worker.chunk_records_max, self._worker.chunk_bytes_max)
        if self._commands or self._events:  # they did not fit
            self._pace.hurry()
        self._want_receipts_turn()
        return work

    async def _turn(self, work: Work) -> None:
        started_s, now_ms = monotonic(), self._clock()
        holds = self._watch.in_effect()
        turn = Turn(self.partition, self.marker, self._overlay, self._rules, now_ms, holds=holds)
        for _ in turn.steps(work):
            await asyncio.sleep(0)
        outcome = turn.outcome()
        appends = outcome.appends(self._topics, self.partition)
        offsets = await self._writer.commit(appends, now_ms)
        self.store.write(self._batch(outcome, offsets, now_ms))
        self._overlay.committed()
        self.marker = outcome.marker
        self._read = {mailbox.topic: mailbox.taken for mailbox in (self._events, self._commands)}
        self.moved_at_s = monotonic()
        if outcome.holds:
            self._watch.announce(outcome.holds)
        self._tell(outcome, self.moved_at_s - started_s)

    def _batch(self, outcome: Outcome, offsets: dict[tuple[str, int], int], at_ms: int) -> Batch:
        """The transaction's changelog records and the offsets behind them, as they now stand in the log."""
        batch = self.store.batch()
        for table in TABLES:
            records = outcome.tables[table]
            for key, value, _ in records:
                assert key is not None
                batch.apply(table, key, value, outcome.generations.get(key) if table == "versions" else None)
            if records:
                end, (key, value, _) = offsets[self._topics.changelog(table), self.partition] + len(records), records[-1]
                assert key is not None
                batch.set_offset(table, end, Fingerprint.of(end - 1, at_ms, key, value))
        return batch

    def _tell(self, outcome: Outcome, seconds: float) -> None:
        metrics.UNIT_SECONDS.observe(seconds)
        metrics.REPEATED.inc(outcome.repeated)
        for verb, count in outcome.commands.items():
            metrics.COMMANDS.labels(verb).inc(count)
        for labels, count in outcome.events.items():
            metrics.EVENTS.labels(*labels).inc(count)
        self._flow.finished(self._topics.events, self.partition, outcome.marker.events)
        self._flow.finished(self._topics.commands, self.partition, outcome.marker.commands)
        if outcome.changed:
            self._on_commit(self.partition, outcome.changed)
