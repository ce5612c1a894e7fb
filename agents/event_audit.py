"""The audit record of one event that was judged, and its place in the counts. What a record is: `tables/audit_record.py`."""

from __future__ import annotations

from agents.fold import Arrival
from agents.turn_state import TurnState
from streams.metrics import type_label
from tables.audit_record import AuditRecord
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
) -> None:
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
            rule,
            trail.config,
            arrival.ingress_text,
            command=arrival.command,
        )
    )
    state.counts[word, type_label(event.type), principal] += 1
