"""Bugs to plant, each of which breaks a guarantee. They are mistakes that a change could make, and that tests of single parts would miss.

A plant patches the real code wherever the mistake would be made there, and the client or server in memory where the real one is theirs.
"""

from __future__ import annotations

import asyncio
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
from streams.bridge_grace import GraceWindow
from streams.errors import Malformed
from streams.log_append import AppendFailed
from streams.log_reader import TP
from tables.overlay import Overlay
from tables.replica import Follower
from tests.simulation.log import Entry, SimulatedLog
from tests.simulation.log_clients import SimulatedAppender, SimulatedReader, SimulatedWriter
from tests.simulation.planting import plant, plant_for_trouble, together
from tests.simulation.stores import MemoryDatabase

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
    return together(grace, patch.object(streams.bridge_stream, "purge_below", purge))


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
    return together(patch.object(SimulatedWriter, "init", init), patch.object(SimulatedWriter, "commit", commit))


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
