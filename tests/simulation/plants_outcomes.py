"""Bugs to plant in what is told and what is delivered: audit, receipts, attempts, commands. What planting is: `plants.py`."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import msgspec

import agents.artifact
import agents.on_command
import agents.on_event
import agents.partitions
import agents.sinks.backlog
import agents.sync_state
from agents.sinks.backlog import Backlog
from agents.sinks.base import Result
from agents.sync_state import Nothing
from agents.turn_state import TurnState
from tests.simulation.loop import PROCESS
from tests.simulation.planting import plant, together

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
    return together(patch.object(TurnState, "__init__", make), patch.object(TurnState, "outcome", outcome))


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
