"""Bugs to plant, each of which breaks a guarantee. They are mistakes that a change could make, and that tests of single parts would miss.

A plant patches the real code wherever the mistake would be made there, and the client or server in memory where the real one is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import msgspec

import agents.artifact
import agents.on_command
import agents.on_event
import agents.partitions
import agents.sinks.backlog
import agents.sync_state
import streams.bridge_begin
import streams.bridge_stream
from agents.artifact import Mailbox
from agents.partitions import Partitions
from agents.sinks.backlog import Backlog
from agents.sinks.base import Result
from agents.sync_state import Nothing
from agents.turn_state import TurnState
from streams.bridge_grace import GraceWindow
from streams.bridge_stream import StreamBridge
from streams.errors import Malformed
from streams.log_append import AppendFailed
from streams.log_ends import LogEnds
from streams.log_reader import TP
from tables.overlay import Overlay
from tables.replica import Follower
from tables.store import PartitionStore
from tests.simulation.log import Entry, SimulatedLog
from tests.simulation.log_clients import SimulatedAppender, SimulatedReader, SimulatedWriter
from tests.simulation.loop import PROCESS
from tests.simulation.stores import MemoryDatabase

#: By name: what it does wrong is its docstring.
PLANTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {}
FOR_LOSSES: set[str] = set()
FOR_TROUBLE: set[str] = set()


def plant(function: Callable[[], Any]) -> Callable[[], Any]:
    PLANTS[function.__name__] = function
    return function


def plant_for_trouble(function: Callable[[], Any]) -> Callable[[], Any]:
    """It shows where requests to the log are late."""
    FOR_TROUBLE.add(function.__name__)
    return plant(function)


def plant_for_losses(function: Callable[[], Any]) -> Callable[[], Any]:
    """It shows only where the log loses its tail."""
    FOR_LOSSES.add(function.__name__)
    return plant(function)


# -- nothing is lost ----------------------------------------------------------------------------------------------------------------


@plant
def chunk_accepted_after_a_hole() -> Any:
    """The mailbox takes whatever arrives, also when it does not follow."""

    def offer(self: Mailbox, chunk: Any) -> bool:
        if chunk.last >= self.next_offset:
            self.next_offset = chunk.first
        return original(self, chunk)

    original = Mailbox.offer
    return patch.object(Mailbox, "offer", offer)


@plant
def work_resumes_from_the_groups_offset() -> Any:
    """As Faust does it: from what was handed over, not from what the marker says is in the state."""

    async def restore(self: Partitions, partition: int) -> Any:
        marker = await original(self, partition)
        marker.events = max(marker.events, _handed_over(self._positions).get(TP(self._topics.events, partition), 0))
        return marker

    def _handed_over(consumer: Any) -> dict[TP, int]:
        return consumer._positions  # type: ignore[no-any-return]

    original = Partitions._restore
    return patch.object(Partitions, "_restore", restore)


@plant
def checkpoint_before_the_acknowledgement() -> Any:
    """The bridge advances its checkpoint when it has sent, not when the log has it."""

    async def append(self: SimulatedAppender, batches: Any) -> Any:
        async def send() -> None:
            try:
                await original(self, batches)
            except AppendFailed:
                return

        task = asyncio.ensure_future(send())
        sent.append(task)
        return {}

    sent: list[Any] = []
    original = SimulatedAppender.append
    return patch.object(SimulatedAppender, "append", append)


@plant
def sending_behind_a_failed_append() -> Any:
    """A batch that failed is sent again later; those behind it go first."""

    async def append(self: SimulatedAppender, batches: Any) -> Any:
        left = vars(self).setdefault("left", [])
        spans = {}
        for again in [batches, *left]:
            try:
                spans = await original(self, again)
                if again is not batches:
                    left.remove(again)
            except AppendFailed:
                self._failed = False
                if again is batches:
                    left.append(again)
        return spans

    original = SimulatedAppender.append
    return patch.object(SimulatedAppender, "append", append)


@plant
def incarnation_is_not_raised() -> Any:
    """A stream that was made anew, or lost its tail, goes on under the incarnation that the marks know."""

    def plan(checkpoint: Any, *args: Any, **options: Any) -> Any:
        start = original(checkpoint, *args, **options)
        return start if checkpoint is None else msgspec.structs.replace(start, incarnation=checkpoint.incarnation)

    original = streams.bridge_begin.plan_start
    return patch.object(streams.bridge_begin, "plan_start", plan)


@plant
def purged_before_the_log_has_it() -> Any:
    """The bridge purges its stream up to what it has read."""

    async def purge(client: Any, stream: str, sequence: int) -> None:
        await original(client, stream, sequence + 3)

    original = streams.bridge_stream.purge_below
    grace = patch.object(GraceWindow, "purge_below", lambda self, now_s, checkpoint, fill: checkpoint)
    return _all(grace, patch.object(streams.bridge_stream, "purge_below", purge))


@plant
def garbage_is_dropped_in_silence() -> Any:
    """What cannot be decoded leaves no trace."""
    return patch.object(agents.on_event, "set_aside", lambda *_, **__: None)


@plant
def garbage_stops_its_partition() -> Any:
    """Decoding raises something else than Malformed."""

    def decoded(*args: Any) -> Any:
        try:
            return original(*args)
        except Malformed as exc:
            raise ValueError from exc

    original = agents.on_event.arrived
    return patch.object(agents.on_event, "arrived", decoded)


# -- the state is exactly once --------------------------------------------------------------------------------------------------------


@plant
def commit_around_a_failed_batch() -> Any:
    """The writer commits although the log has refused one of the batches."""

    def produce(self: SimulatedLog, ident: str, epoch: int, batches: Any, timestamp: int) -> Any:
        taken = {tp: records for tp, records in batches.items() if not self.refuses(tp, records)}
        with patch.object(self, "refuses", lambda *_: False):
            offsets = original(self, ident, epoch, taken, timestamp)
        return offsets | {tp: self.partition(tp).end for tp in batches if tp not in taken}

    original = SimulatedLog.produce
    return patch.object(SimulatedLog, "produce", produce)


@plant_for_trouble
def a_commit_that_was_not_answered_is_sent_again() -> Any:
    """The first one may be on its way still, and then ends the next transaction, of which half is there: with version 1 of the protocol."""

    async def end(self: SimulatedWriter) -> None:
        self._log.version = 1
        self._epoch = await self._ask_coordinator(self._log.end_transaction, self.transactional_id, self._epoch)

    return patch.object(SimulatedWriter, "_end", end)


@plant
def no_fencing_before_recovery() -> Any:
    """The transactional id is initialised at the first commit, when the changelogs' ends have long been read."""

    async def init(self: SimulatedWriter) -> None:
        return

    async def commit(self: SimulatedWriter, *args: Any) -> Any:
        if self._epoch < 0:
            await original_init(self)
        return await original(self, *args)

    original_init, original = SimulatedWriter.init, SimulatedWriter.commit
    return _all(patch.object(SimulatedWriter, "init", init), patch.object(SimulatedWriter, "commit", commit))


@plant
def no_fencing_at_all() -> Any:
    """Whoever had the partition before may go on writing: every worker has a transactional id of its own."""

    def make(self: SimulatedWriter, log: Any, wire: Any, ident: str, holder: str = "") -> None:
        original(self, log, wire, ident, holder)
        self.transactional_id = f"{ident}-{holder}"

    original = SimulatedWriter.__init__
    return patch.object(SimulatedWriter, "__init__", make)


@plant
def reading_what_is_not_committed() -> Any:
    """Some reader is not read_committed: it sees aborted records."""
    return patch.object(Entry, "is_visible", property(lambda self: not self.is_marker))


@plant
def dedup_by_the_last_one_only() -> Any:
    """A record is a repetition only of the one before it."""
    return patch.object(agents.on_event, "is_repeated", lambda stream, mark, marker: marker.marks.get(stream) == mark)


@plant
def no_dedup_of_what_producers_repeat() -> Any:
    """The same (principal, source, id) under another identity counts again."""
    return patch.object(agents.on_event, "is_duplicate", lambda *_: False)


@plant
def overlay_is_kept_after_an_abort() -> Any:
    """The next turns start from what never happened."""

    def overlay(store: Any) -> Overlay:
        return kept.setdefault(store, Overlay(store))

    kept: WeakKeyDictionary[Any, Overlay] = WeakKeyDictionary()
    return patch.object(agents.artifact, "Overlay", overlay)


# -- RocksDB is a cache of the changelogs ---------------------------------------------------------------------------------------------


@plant
def recovery_stops_early() -> Any:
    """The last transaction of a changelog is not waited for."""

    def caught_up(self: Follower) -> set[int]:
        behind = {tp.partition for tp, position in self._positions.items() if position < self._ends[tp] - 3}
        return {tp.partition for tp in self._positions} - behind

    return patch.object(Follower, "caught_up", caught_up)


@plant
def recovery_waits_for_the_last_record() -> Any:
    """Recovery ends at the offset of a record, and the last offset is a commit marker: it never ends."""

    async def position(self: Any, tp: TP) -> int:
        entries = [entry.offset for entry in self._log.partition(tp).committed() if entry.offset < self._positions[tp]]
        return entries[-1] + 1 if entries else self._positions[tp]

    from tests.simulation.log_clients import SimulatedReader

    return patch.object(SimulatedReader, "position", position)


@plant
def offset_written_without_the_data() -> Any:
    """The changelog offset is on disk before the records are."""

    def write(self: MemoryDatabase, changes: Any) -> None:
        original(self, changes)
        for key, _ in changes.items:
            if key[:1] == b"m":
                for before in self._undo:
                    before.pop(key, None)

    original = MemoryDatabase.write
    return patch.object(MemoryDatabase, "write", write)


@plant
def standby_with_a_gap() -> Any:
    """A standby follows from the changelogs' ends instead of from where its store is."""

    def start_positions(self: Follower, partition: int, beginnings: Any) -> Any:
        positions = original(self, partition, beginnings)
        is_fresh = not any(self._stores[partition].offset(table) for table in self._table_of.values())
        return {tp: self._ends[tp] for tp in positions} if is_fresh and self._on_change is None else positions

    original = Follower._start_positions
    return patch.object(Follower, "_start_positions", start_positions)


# -- a log that lost its tail -----------------------------------------------------------------------------------------------------


@plant_for_losses
def stores_are_known_by_offsets_alone() -> Any:
    """A store goes on from its offset, whatever stands before it in the changelog now."""
    return patch.object(PartitionStore, "fingerprint", lambda *_: None)


@plant_for_losses
def checkpoints_are_known_by_offsets_alone() -> Any:
    """A bridge goes on when the log is long enough, whoever's records are there."""

    async def replaced(*_: Any) -> dict[int, int]:
        return {}

    return patch.object(LogEnds, "replaced", replaced)


@plant_for_losses
def idle_streams_do_not_ask() -> Any:
    """A stream that has nothing to append leaves it to others to notice."""

    async def confirm(*_: Any) -> None:
        await asyncio.Event().wait()

    return patch.object(StreamBridge, "_confirm", confirm)


@plant_for_losses
def idle_partitions_do_not_ask() -> Any:
    """A partition that has nothing to write serves what the log has lost."""

    async def watch(*_: Any) -> None:
        await asyncio.Event().wait()

    return patch.object(Partitions, "_watch", watch)


@plant_for_losses
def chunks_are_taken_over_any_connection() -> Any:
    """Whoever fetched reads on behind a log that was away, however it has come back."""

    def offer(self: Mailbox, chunk: Any) -> bool:
        return original(self, msgspec.structs.replace(chunk, connection=self._connection))

    original = Mailbox.offer
    return patch.object(Mailbox, "offer", offer)


@plant_for_losses
def followers_read_on_over_any_connection() -> Any:
    """Whoever follows a changelog reads on behind a log that was away, however it has come back."""

    def fetch(self: SimulatedReader, positions: Any) -> Any:
        return original(self, positions)[0], 0

    original = SimulatedReader._fetch
    return patch.object(SimulatedReader, "_fetch", fetch)


@plant_for_losses
def commands_are_not_known_again() -> Any:
    """When [commands] is read again, all of it is carried out again."""
    return patch.object(agents.pipeline, "is_repeated_command", lambda *_: False)


# -- the audit ------------------------------------------------------------------------------------------------------------------------


@plant
def audit_chain_from_memory() -> Any:
    """The chain goes on from what the worker remembers, not from what the marker says was committed."""

    def make(self: TurnState, partition: int, *args: Any) -> None:
        original(self, partition, *args)
        process = PROCESS.get()
        remembered = memory.get((process, partition))
        if remembered is not None:
            self.audit.seq, self.audit._link = remembered

    def outcome(self: TurnState) -> Any:
        memory[PROCESS.get(), self.partition] = (self.audit.seq, self.audit._link)
        return original_outcome(self)

    memory: dict[Any, Any] = {}
    original, original_outcome = TurnState.__init__, TurnState.outcome
    return _all(patch.object(TurnState, "__init__", make), patch.object(TurnState, "outcome", outcome))


@plant
def refusals_are_not_audited() -> Any:
    """A refused event leaves no record."""

    def audit_event(*args: Any, **fields: Any) -> None:
        if fields.get("code") is None:
            original(*args, **fields)

    original = agents.on_event.audit_event
    return patch.object(agents.on_event, "audit_event", audit_event)


# -- components -----------------------------------------------------------------------------------------------------------------------


@plant
def an_older_receipt_settles_a_newer_generation() -> Any:
    """Whatever was delivered, the pair counts as in sync."""

    def receive(sync: Any, receipt: Any, **options: Any) -> Any:
        if sync is not None and receipt.result is Result.DELIVERED:
            receipt = msgspec.structs.replace(receipt, generation=sync.desired)
        return original(sync, receipt, **options)

    original = agents.sync_state.receive
    return patch.object(agents.sync_state, "receive", receive)


@plant
def two_attempts_for_one_artifact_at_once() -> Any:
    """The next version goes out before the one under way has arrived."""

    def take(self: Backlog, now_ms: int) -> Any:
        self._under_way.clear()
        return original(self, now_ms)

    original = Backlog.take
    return patch.object(Backlog, "take", take)


@plant
def a_failed_attempt_is_not_repeated() -> Any:
    """A temporary failure is the end of it."""

    def next_step(sync: Any, now_ms: int) -> Any:
        return Nothing() if sync.attempts else original(sync, now_ms)

    original = agents.sync_state.next_step
    return patch.object(agents.sinks.backlog, "next_step", next_step)


@plant
def supersessions_are_miscounted() -> Any:
    """The generation that was delivered counts as superseded too."""

    def settle(sync: Any, *, now_ms: int) -> Any:
        return msgspec.structs.replace(original(sync, now_ms=now_ms), superseded=sync.superseded + sync.pending)

    original = agents.sync_state.settle
    return patch.object(agents.sync_state, "settle", settle)


@plant
def no_scan_at_assignment() -> Any:
    """What was out of step before this worker had the partition stays so."""

    def make(self: Backlog, *args: Any) -> None:
        original(self, *args)
        self._scanned = None

    original = Backlog.__init__
    return patch.object(Backlog, "__init__", make)


@plant
def sync_now_does_nothing() -> Any:
    """A manual sync is audited, and that is all."""
    return patch.object(agents.on_command, "_desire_again", lambda *_: None)


@contextmanager
def _all(*patches: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield
