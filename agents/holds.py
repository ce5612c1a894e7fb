"""Holds in a turn: policies that halt, and records for components that read the log, which wait while they are held.

Deliveries by sink actors need nothing here: the state says what is out of step, and the actors ask before each attempt. A record for
a component that reads the log is part of the turn's transaction, so it is the turn that leaves the pair behind (`log_outputs.py`) and
comes back to it after the release, some heads with each turn. The marker remembers how far, so a restart goes on from there.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from agents.hold_watch import UNKNOWN
from agents.log_outputs import settle_logs
from agents.routing import Target
from agents.turn_state import TurnState
from streams.control import HOLDS_MAX, Hold
from streams.holds import Holds
from tables.audit_record import Outcome as Word
from tables.model import Head, Marker

#: How many heads one turn looks at after a release, and after how many records it leaves the rest to the next.
HEADS_PER_TURN_MAX = 500
RECORDS_PER_TURN_MAX = 5000
#: Of one policy. The next one is about all artifacts: whoever breaks a rule so often is not stopped one artifact at a time.
HOLDS_PER_RULE_MAX = 1000


class Halting(Protocol):
    """The part of a policy's verdict that matters here."""

    @property
    def rule(self) -> str: ...

    @property
    def detail(self) -> str: ...


def halt(state: TurnState, verdict: Halting, artifact: str) -> Hold | None:
    """Stop deliveries of the artifact, or what else the policy names that gave the verdict. None if it has stopped them already.

    In effect in this turn, in this worker as soon as the turn is committed, and elsewhere once it can be read in [control].
    """
    hold = _hold(state, verdict, artifact)
    if hold.id in state.holds:
        return None
    state.holds = state.holds.plus(hold)
    state.made_holds.append(hold)
    state.audit.add(
        f"hold-{hold.id}-{state.partition}-{state.marker.turn}",
        Word.COMMAND,
        artifact,
        code="halt",
        detail=hold.reason,
        rule=hold.rule,
        command=hold.id,
    )
    return hold


def _hold(state: TurnState, verdict: Halting, artifact: str) -> Hold:
    """Its id is made from rule and what it stops: however often the rule is broken, and by how many turns, it is one hold."""
    artifacts, component = _stopped(state, verdict.rule, artifact)
    name = (verdict.rule, *artifacts, *(("", component) if component else ()))
    digest = hashlib.sha256("\0".join(name).encode()).hexdigest()[:16]
    return Hold(f"policy-{digest}", "halt", artifacts, component, reason=verdict.detail, at_ms=state.now_ms, rule=verdict.rule)


def _stopped(state: TurnState, rule: str, artifact: str) -> tuple[tuple[str, ...], str]:
    """Patterns of artifacts, () for all, and a component, "" for all: what the policy names, else the artifact."""
    halts = state.rules.halts.get(rule)
    if halts is not None:
        return halts.artifacts, halts.component or ""
    of_rule = sum(hold.rule == rule for hold in state.holds)
    return () if of_rule >= HOLDS_PER_RULE_MAX or len(state.holds) >= HOLDS_MAX else (artifact,), ""


def has_released(marker: Marker, holds: Holds) -> bool:
    """Whether there are heads to look at although nothing has come in. Not while nobody knows what is held."""
    return holds is not UNKNOWN and (marker.held_after is not None or (marker.held and marker.holds != holds.hash))


def waits_for_release(marker: Marker) -> bool:
    return marker.held or marker.held_after is not None


def release_logs(state: TurnState) -> None:
    """Settle what waited for a release, in key order, from where the last turn stopped; from the beginning when other holds are in effect.

    First in a turn: `held` then says whether anything waits under the holds that are in effect now.
    """
    marker = state.marker
    if state.holds is UNKNOWN:
        return
    if marker.holds != state.holds.hash:
        if waits_for_release(marker):
            marker.held, marker.held_after = False, ""
        marker.holds = state.holds.hash
    if marker.held_after is not None:
        _settle_some(state, marker.held_after)


def _settle_some(state: TurnState, after: str) -> None:
    routing = state.rules.routing
    for number, artifact in enumerate(state.overlay.heads_after(after)):
        if number == HEADS_PER_TURN_MAX or sum(map(len, state.sync.values())) >= RECORDS_PER_TURN_MAX:
            return
        state.marker.held_after = artifact
        head, targets = state.overlay.head(artifact), routing.targets(artifact)
        if head is not None and any(_waits(head, target) for target in targets):
            settle_logs(state, artifact, head, targets)
    state.marker.held_after = None


def _waits(head: Head, target: Target) -> bool:
    sync = head.sync.get(target.component)
    return target.sink_type == "log" and sync is not None and sync.delivered < sync.desired
