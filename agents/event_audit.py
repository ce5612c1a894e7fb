"""The audit record of one event that was judged, and its place in the counts. What a record is: `tables/audit_record.py`."""

from __future__ import annotations

from agents.fold import Arrival
from agents.turn_state import TurnState
from tables.audit_record import AuditRecord, trace_id
from tables.audit_record import Outcome as Word


def audit_event(
    state: TurnState,
    arrival: Arrival,
    word: Word,
    *,
    generation: int = 0,
    code: str = "",
    detail: str = "",
    rule: str = "",
    before: str = "",
    after: str = "",
) -> None:
    """`rule` is the policy that decided; without one it is what allowed the principal to publish."""
    event, artifact, trail, principal = arrival.event, arrival.event.artifact, state.audit, arrival.ingress.principal
    trail.append(
        AuditRecord(  # in the order of its fields: names cost a third of a microsecond here
            arrival.id,
            trail.seq,
            trail.at_ms,
            word,
            artifact.key,
            principal,
            event.source,
            event.id,
            event.type,
            artifact.version,
            artifact.digest or "",
            generation,
            "",
            code,
            detail,
            rule or arrival.course.decision.rule,
            trail.config,
            arrival.ingress_text,
            0,
            0,
            arrival.command,
            "",
            trace_id(event.extensions) if event.extensions else "",
            before,
            after,
        )
    )
    state.counts[word, arrival.course.type_label, principal] += 1
