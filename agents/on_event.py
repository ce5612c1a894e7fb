"""What one event changes: the hot path.

For each record: dedup by identity -> decode and validate -> dedup by (principal, source, id) -> may this principal publish it ->
does it wait behind another -> policies -> fold into head and version -> audit. A record that is bad costs only itself; one that is
parked (`parking.py`) makes its artifact's later ones wait. What comes out of quarantine is judged here again (`release.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from agents.alerting import tell
from agents.dedup import event_hash, is_duplicate, is_repeated
from agents.delivery import event_record
from agents.event_audit import audit_event
from agents.fold import Arrival, accept
from agents.holds import halt
from agents.log_outputs import log_records, settle_logs
from agents.newest import is_beyond
from agents.parking import keep, park, queue_behind
from agents.policies import FINE, POLICY_FAILED, Case, Judgement, Verdict
from agents.policies import judge as judge_by
from agents.quarantine import names_of, quarantined
from agents.routing import Target
from agents.turn_state import TurnState
from streams.codec import check_time, decode_event
from streams.errors import Malformed
from streams.events import Incoming
from streams.ingress import HEADER, Ingress
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
    audit_id = f"events-{state.partition}-{record.offset}"
    try:
        arrival = arrived(state, record.key, incoming, ingress, ingress_text.decode(), audit_id)
    except Malformed as exc:
        ident = f"events-{state.partition:05d}-{record.offset:020d}"
        set_aside(state, record.key.decode(), incoming, ingress, exc, ident=ident, audit_id=audit_id)
        return
    verdict = judge(state, arrival)
    if verdict is not None:
        park(state, arrival, verdict)


def arrived(  # noqa: PLR0917 - on the path of every event, where keywords cost
    state: TurnState, key: bytes, incoming: Incoming, ingress: Ingress, ingress_text: str, audit_id: str
) -> Arrival:
    """Decoded and validated. Raises Malformed."""
    limits = state.rules.limits
    event = decode_event(incoming, limits)
    check_time(event, ingress.ingress_ms, limits)
    if event.artifact.key.encode() != key:
        raise Malformed("key.mismatch", f"the record's key is {key!r}, the event is about {event.artifact.key!r}")
    taken = event_hash(ingress.principal, event.source, event.id)
    course = state.rules.course(ingress.principal, event.type, event.artifact.key)
    version_key = key + SEP + event.artifact.version.encode()
    return Arrival(event, incoming, ingress, ingress_text, course, taken, key, version_key, audit_id)


def judge(state: TurnState, arrival: Arrival, waits: bool = True, waived: Sequence[str] = ()) -> Verdict | None:
    """Everything but parking: the verdict of a policy that wants the event parked; None when all is done.

    Those that come out of a queue do not wait behind others of their artifact (`waits`); policies in `waived` do not look at the event.
    """
    event, overlay = arrival.event, state.overlay
    head = overlay.head(event.artifact.key)
    version = _known_version(head, arrival, overlay)
    course = arrival.course
    if is_duplicate(arrival.taken, head, version):
        audit_event(state, arrival, Word.DUPLICATE)
        return None
    if not course.decision.allowed:
        code, detail = state.rules.denial(arrival.ingress.principal, event)
        audit_event(state, arrival, Word.REFUSED, code=code, detail=detail)
        return None
    if waits and overlay.lots and queue_behind(state, arrival):
        return None
    verdict, alerts = _judgement(state, arrival, head, version, waived) if course.policies else FINE
    if verdict is None:
        _accept(state, arrival, head, version, alerts)
        return None
    if verdict.action == "quarantine":
        return verdict
    if verdict.action == "halt":
        halt(state, verdict, event.artifact.key)
    audit_event(state, arrival, Word.REFUSED, code=verdict.code, detail=verdict.detail, rule=verdict.rule)
    return None


def _judgement(
    state: TurnState, arrival: Arrival, head: Head | None, version: Version | None, waived: Sequence[str]
) -> Judgement:
    """What the policies say. An event's time is that of its ingress, so that a repetition is judged alike; a released one's is now."""
    ingress = replace(arrival.ingress, ingress_ms=state.now_ms) if arrival.command else arrival.ingress
    judgement = judge_by(arrival.course.policies, Case(arrival.event, arrival.incoming, ingress, head, version), waived)
    verdict = judgement.verdict
    for alert in judgement.alerts:
        tell(state, arrival, alert)
    if verdict is not None and (verdict.action != "refuse" or verdict.code == POLICY_FAILED):
        tell(state, arrival, verdict)
    return judgement


def _accept(
    state: TurnState, arrival: Arrival, head: Head | None, version: Version | None, alerts: Sequence[Verdict] = ()
) -> None:
    artifact, before, targets = arrival.event.artifact, "" if head is None else head.state, arrival.course.targets
    held = _held_logs(state, artifact.key, targets) if state.holds else ()
    head = accept(arrival, head, version, targets, held, state.overlay, state.now_ms, state.hlc.tick())
    _tell_logs(state, arrival, head, targets)
    if state.holds or state.marker.held:
        settle_logs(state, artifact.key, head, targets)
    told = f"alerts: {', '.join(alert.rule for alert in alerts)}" if alerts else ""
    audit_event(state, arrival, Word.ACCEPTED, generation=head.generation, detail=told, before=before, after=head.state)


def _known_version(head: Head | None, arrival: Arrival, overlay: Overlay) -> Version | None:
    """What the state has of the event's version. One that is beyond every version ever accepted need not be looked for.

    One of a generation that the head has not reached is of a turn that the log has lost, but for this table.
    """
    if head is None or (not head.has_deleted and is_beyond(head.newest, arrival.event.artifact.version)):
        return None
    version = overlay.version_at(arrival.version_key)
    return None if version is not None and version.generation > head.generation else version


def _held_logs(state: TurnState, artifact: str, targets: Iterable[Target]) -> set[str]:
    return {t.component for t in targets if t.sink_type == "log" and state.holds.blocks(artifact, t.component)}


def _tell_logs(state: TurnState, arrival: Arrival, head: Head, targets: Iterable[Target]) -> None:
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
            state.sync[target.component].append((arrival.key, value, []))
        else:  # the newest version was deleted: what the component needs now is another one
            state.sync[target.component] += log_records(state.overlay, arrival.event.artifact.key, target, sync)


def set_aside(
    state: TurnState,
    key: str,
    incoming: Incoming,
    ingress: Ingress,
    why: Malformed,
    *,
    ident: str,
    audit_id: str,
    command: str = "",
) -> None:
    """Keep what is not an event, under `ident`."""
    keep(state, key, ident, quarantined(incoming, ingress, why, state.now_ms))
    state.audit.add(
        audit_id,
        Word.QUARANTINED,
        key,
        principal=ingress.principal,
        code=why.code,
        detail=why.detail,
        ingress=ingress.encode().decode(),
        command=command,
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
