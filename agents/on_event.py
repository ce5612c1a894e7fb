"""What one event changes: the hot path.

For each record: dedup by identity -> decode and validate -> dedup by (principal, source, id) -> may this principal publish it ->
fold into head and version -> audit. A record that is bad costs only itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agents.dedup import event_hash, is_duplicate, is_repeated
from agents.delivery import event_record
from agents.fold import Arrival, accept
from agents.log_outputs import log_records, settle_logs
from agents.newest import is_beyond
from agents.quarantine import names_of, quarantined
from agents.routing import Target
from agents.turn_state import TurnState
from streams.codec import check_time, decode_event
from streams.errors import Malformed, NotAllowed
from streams.events import Event, Incoming
from streams.ingress import HEADER, Ingress
from streams.metrics import type_label
from streams.settings import Limits
from tables.audit_record import AuditRecord
from tables.audit_record import Outcome as Word
from tables.model import SEP, Head, Version
from tables.overlay import Overlay


def take_events(state: TurnState, records: Sequence[Any]) -> None:
    """A chunk of [events], in order."""
    for record in records:
        take_event(state, record)
    state.marker.events = records[-1].offset + 1
    state.marker.last_event = _incoming(records[-1])[0].decode()


def take_event(state: TurnState, record: Any) -> None:
    ingress_text, incoming = _incoming(record)
    ingress = Ingress.decode(ingress_text)
    mark = ingress.mark
    if is_repeated(ingress.stream, mark, state.marker):
        state.repeated += 1
        return
    state.marker.marks[ingress.stream] = mark
    try:
        event = _decoded(record, incoming, ingress, state.rules.limits)
    except Malformed as exc:
        _quarantine(state, record, ingress, incoming, exc)
        return
    taken = event_hash(ingress.principal, event.source, event.id)
    version_key = record.key + SEP + event.artifact.version.encode()
    _judge(state, record, Arrival(event, incoming, ingress, ingress_text.decode(), taken, version_key))


def _decoded(record: Any, incoming: Incoming, ingress: Ingress, limits: Limits) -> Event:
    event = decode_event(incoming, limits)
    check_time(event, ingress.ingress_ms, limits)
    if event.artifact.key.encode() != record.key:
        raise Malformed("key.mismatch", f"the record's key is {record.key!r}, the event is about {event.artifact.key!r}")
    return event


def _judge(state: TurnState, record: Any, arrival: Arrival) -> None:
    artifact, overlay = arrival.event.artifact, state.overlay
    head = overlay.head(artifact.key)
    version = _known_version(head, arrival, overlay)
    if is_duplicate(arrival.taken, head, version):
        audit_event(state, record, arrival, Word.DUPLICATE)
        return
    try:
        state.rules.check_publish(arrival.ingress.principal, arrival.event)
    except NotAllowed as exc:
        audit_event(state, record, arrival, Word.REFUSED, code=exc.code, detail=exc.detail, rule="may_publish")
        return
    targets = state.rules.routing.targets(artifact.key)
    held = _held_logs(state, artifact.key, targets) if state.holds else ()
    head = accept(arrival, head, version, targets, held, overlay, state.now_ms, state.hlc.tick())
    _tell_logs(state, record, arrival, head, targets)
    if state.holds or state.marker.held:
        settle_logs(state, artifact.key, head, targets)
    audit_event(state, record, arrival, Word.ACCEPTED, generation=head.generation)


def _known_version(head: Head | None, arrival: Arrival, overlay: Overlay) -> Version | None:
    """What the state has of the event's version. One that is beyond every version ever accepted need not be looked for."""
    if head is None or (not head.has_deleted and is_beyond(head.newest, arrival.event.artifact.version)):
        return None
    return overlay.version_at(arrival.version_key)


def _held_logs(state: TurnState, artifact: str, targets: Iterable[Target]) -> set[str]:
    return {t.component for t in targets if t.sink_type == "log" and state.holds.blocks(artifact, t.component)}


def _tell_logs(state: TurnState, record: Any, arrival: Arrival, head: Head, targets: Iterable[Target]) -> None:
    """Components that read the log get their records, in this transaction."""
    value, version = b"", arrival.event.artifact.version
    for target in targets:
        if target.sink_type != "log":
            continue
        sync = head.sync[target.component]
        if sync.delivered != head.generation:
            continue
        if sync.version == version:
            value = value or event_record(head.generation, arrival.event)
            state.sync[target.component].append((record.key, value, []))
        else:  # the newest version was deleted: what the component needs now is another one
            state.sync[target.component] += log_records(state.overlay, arrival.event.artifact.key, target, sync)


def audit_event(
    state: TurnState,
    record: Any,
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
            f"events-{state.partition}-{record.offset}",
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
        )
    )
    state.counts[word, type_label(event.type), principal] += 1


def _quarantine(state: TurnState, record: Any, ingress: Ingress, incoming: Incoming, why: Malformed) -> None:
    key, ident = record.key.decode(), f"events-{state.partition:05d}-{record.offset:020d}"
    state.overlay.put_quarantined(key, ident, quarantined(incoming, ingress, why, state.now_ms))
    state.audit.add(
        f"events-{state.partition}-{record.offset}",
        Word.QUARANTINED,
        key,
        principal=ingress.principal,
        code=why.code,
        detail=why.detail,
        ingress=ingress.encode().decode(),
        **names_of(incoming),
    )
    state.counts[Word.QUARANTINED, "other", ingress.principal] += 1


def _incoming(record: Any) -> tuple[bytes, Incoming]:
    """The `sm-ingress` header and the message as it came through the door."""
    headers = record.headers
    if len(headers) == 1:
        return headers[0][1], Incoming(record.value or b"")
    found = dict(headers)
    return found.pop(HEADER), Incoming(record.value or b"", {name: value.decode() for name, value in found.items()})
