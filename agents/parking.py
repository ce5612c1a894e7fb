"""Parking: an event that a policy quarantines, and what queues behind it. One artifact waits; its partition flows on. Pure but for the overlay.

The invariants:

* While an artifact is parked there is a `Lot` for it, in memory and in the table, whether it has a head or not. No lot, not parked: that
  is all the hot path looks at (`overlay.lots`). Heads know nothing of parking, so an artifact that was never accepted needs none.
* The front of a lot is older than its queue, and the queue is in the order in which the events came. Nothing of the artifact is accepted
  but through the front: what comes while the queue is drained goes to its end.
* Entry, lot, counts and audit record of one event are in one transaction. What comes out of quarantine: `release.py`.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Protocol

from msgspec.structs import replace

from agents.event_audit import audit_event
from agents.fold import Arrival
from agents.turn_state import TurnState
from tables.audit_record import Outcome as Word
from tables.model import PARKED_PREFIX, Kept, Lot, Quarantined

#: What may wait behind the front of one artifact; the next event is refused.
QUEUED_MAX = 1000
QUEUED_BYTES_MAX = 1 << 20


class Finding(Protocol):
    """The part of a policy's verdict that matters here."""

    @property
    def rule(self) -> str: ...

    @property
    def code(self) -> str: ...

    @property
    def detail(self) -> str: ...


class _Behind:
    """The finding of an event that waits for the one in front of it."""

    code = "artifact.parked"
    detail = "an earlier event of this artifact is parked, or waits behind one that is; this one is judged after it"

    def __init__(self, rule: str) -> None:
        self.rule = rule


def park(state: TurnState, arrival: Arrival, finding: Finding) -> None:
    """Keep the event; from now on its artifact's later ones wait."""
    artifact = arrival.event.artifact.key
    lot = state.overlay.lots.get(artifact) or Lot()
    front = _keep(state, arrival, Kept.PARKED, finding)
    state.overlay.put_lot(artifact, replace(lot, front=front, rule=finding.rule, since_ms=state.now_ms, command=arrival.command))


def queue_behind(state: TurnState, arrival: Arrival) -> bool:
    """Whether the event is dealt with here: it waits behind a parked one, or repeats one that waits or was discarded."""
    artifact, overlay = arrival.event.artifact.key, state.overlay
    lot = overlay.lots.get(artifact)
    if lot is None:
        return False
    if arrival.taken in lot.discarded or (lot.is_parked and arrival.taken in overlay.waiting(artifact)):
        audit_event(state, arrival, Word.DUPLICATE)
        return True
    if not lot.is_parked:
        return False
    size_bytes = len(arrival.incoming.body)
    if lot.queued >= QUEUED_MAX or lot.queued_bytes + size_bytes > QUEUED_BYTES_MAX:
        detail = (
            f"{lot.queued} events ({lot.queued_bytes} bytes) wait already; release or discard the parked one, then publish again"
        )
        audit_event(state, arrival, Word.REFUSED, code="artifact.queue_full", detail=detail, rule=lot.rule)
        return True
    _keep(state, arrival, Kept.QUEUED, _Behind(lot.rule))
    overlay.put_lot(artifact, replace(lot, queued=lot.queued + 1, queued_bytes=lot.queued_bytes + size_bytes))
    return True


def keep(state: TurnState, artifact: str, ident: str, entry: Quarantined) -> str:
    """Put an entry into quarantine, in place of the one with its id if that is of the same message. Returns the id.

    An id is a position. A log that lost its tail gives positions again; no original is written over for that.
    """
    before = state.overlay.quarantined(artifact, ident)
    if before is not None and before.ingress != entry.ingress:
        ident = f"{ident}.{state.marker.turn}"
    remove(state, artifact, ident)
    state.overlay.put_quarantined(artifact, ident, entry)
    _count(state, entry, 1)
    return ident


def remove(state: TurnState, artifact: str, ident: str) -> None:
    entry = state.overlay.remove_quarantined(artifact, ident)
    if entry is not None:
        _count(state, entry, -1)


def _keep(state: TurnState, arrival: Arrival, kept: Kept, finding: Finding) -> str:
    """The new entry's id, which is that of the audit record that tells of it."""
    ident = f"{PARKED_PREFIX}{state.audit.seq:020d}"
    entry = Quarantined(
        reason=finding.code,
        detail=finding.detail,
        rule=finding.rule,
        principal=arrival.ingress.principal,
        ingress=arrival.ingress_text,
        headers=arrival.incoming.headers,
        body_base64=b2a_base64(arrival.incoming.body, newline=False).decode(),
        at_ms=state.now_ms,
        kept=kept,
        taken=arrival.taken,
    )
    ident = keep(state, arrival.event.artifact.key, ident, entry)
    audit_event(state, arrival, Word.QUARANTINED, code=finding.code, detail=finding.detail, rule=finding.rule)
    return ident


def _count(state: TurnState, entry: Quarantined, change: int) -> None:
    """By reason and rule, in the marker: so whoever has the marker knows what is in quarantine without looking through it."""
    name, counts = f"{entry.reason} {entry.rule}", dict(state.marker.quarantined)
    counts[name] = counts.get(name, 0) + change
    if counts[name] <= 0:
        del counts[name]
    state.marker.quarantined = counts
