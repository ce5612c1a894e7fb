"""Events: take some for a principal, and tell what became of one.

An event that is refused here, with a 4xx, is told to its sender and kept nowhere: nothing has acknowledged it. What NATS has
acknowledged is judged by the engine, and what that refuses or cannot use is in the audit trail and in quarantine.
"""

from __future__ import annotations

import time
from urllib.parse import quote

from agents.authz import May, Resource
from gateway.context import Context
from gateway.operations.artifacts import pair_views
from gateway.problems import Problem, Unavailable, unavailable
from gateway.tokens import Token
from gateway.views import EventsTaken, EventView, OutcomeView, TakenEvent, rfc3339
from streams.codec import check_time, decode_event, split
from streams.errors import Malformed, Retriable
from streams.events import Event, Incoming
from tables.audit_record import AuditRecord, Outcome

#: Codes of the codec that mean "not even readable", and "larger than we take"; every other one is a 422.
_UNREADABLE = ("json.invalid",)
_TOO_LARGE = ("event.too_large", "batch.too_many")


async def publish_events(context: Context, principal: str, incoming: Incoming) -> EventsTaken:
    """One event or a batch. All are checked before the first is published; returns when NATS has acknowledged all of them.

    If NATS goes away in the middle of a batch, some events may have been taken: the batch can be sent again as it is.
    """
    events = _checked(context, incoming)
    context.door_rates.admit(principal, len(events))
    taken: list[TakenEvent] = []
    for event, part in events:
        try:
            published = await context.publisher.publish(principal, part, source=event.source, event_id=event.id)
        except Retriable as exc:
            detail = f"{exc} ({len(taken)} of {len(events)} were acknowledged)" if len(events) > 1 else str(exc)
            raise unavailable("publish.unavailable", detail, exc.retry_after_s) from exc
        partition = context.queries.partition(event.artifact.key)
        token = Token(published.stream, partition, (published.incarnation, published.sequence, 0))
        taken.append(
            TakenEvent(
                source=event.source,
                id=event.id,
                artifact=event.artifact.key,
                duplicate=published.duplicate,
                token=str(token),
                location=location(event.source, event.id),
            )
        )
    return EventsTaken(items=taken)


def location(source: str, ident: str) -> str:
    return f"/v1/events/{quote(source, safe='')}/{quote(ident, safe='')}"


def get_event(context: Context, source: str, ident: str, *, principal: str, caller: str, may_read: May) -> EventView:
    """What became of the event with this source and id, of one principal or ("") of any, as far as the caller may know it."""
    found = context.audit.by_event(source, ident, principal=principal)
    records = [record for record in found if record.principal == caller or may_read(Resource(artifact=record.artifact))]
    if not records:
        if not context.audit_follower.ready:
            raise Unavailable("audit.restoring", "the audit index of this replica is still being filled, see /readyz")
        raise context.unknown("event.unknown", "no event of this source and id has been judged; give its token to wait for it")
    accepted = [record for record in records if record.outcome is Outcome.ACCEPTED]
    artifact = (accepted or records)[-1].artifact
    stored = context.queries.artifact(artifact) if accepted else None
    return EventView(
        source=source,
        id=ident,
        outcomes=[_outcome(record) for record in records],
        artifact=artifact,
        sync=pair_views(context, artifact, stored[1]) if stored else {},
    )


def _checked(context: Context, incoming: Incoming) -> list[tuple[Event, Incoming]]:
    """Every event of the message, decoded. Raises Problem for the whole message if one of them is not valid."""
    limits, now_ms = context.settings.limits, int(time.time() * 1000)
    events: list[tuple[Event, Incoming]] = []
    found: list[tuple[int, Malformed]] = []
    parts = split(incoming, limits)
    for index, part in enumerate(parts):
        try:
            event = decode_event(part.incoming, limits) if part.error is None else None
            if event is None:
                raise part.error or AssertionError
            check_time(event, now_ms, limits)
            _sendable(part.incoming)
            events.append((event, part.incoming))
        except Malformed as error:
            found.append((index, error))
    if found:
        raise _refused(found, len(parts))
    return events


def _sendable(incoming: Incoming) -> None:
    """HTTP lets any bytes into a header; what is not UTF-8 should have been percent-encoded and cannot be passed on."""
    try:
        for value in incoming.headers.values():
            value.encode()
    except UnicodeEncodeError:
        raise Malformed("attribute.invalid", "a header is not UTF-8; CloudEvents wants such values percent-encoded") from None


def _refused(found: list[tuple[int, Malformed]], total: int) -> Problem:
    code, detail = found[0][1].code, found[0][1].detail
    status = 400 if code in _UNREADABLE else 413 if code in _TOO_LARGE else 422
    if total == 1:
        return Problem(status, code, detail)
    violations = [{"index": index, "code": error.code, "detail": error.detail} for index, error in found[:100]]
    summary = f"{len(found)} of {total} events are not valid, none was taken; the first: {detail}"
    return Problem(status, code, summary, violations=violations)


def _outcome(record: AuditRecord) -> OutcomeView:
    return OutcomeView(
        outcome=record.outcome.value,
        at=rfc3339(record.at_ms),
        principal=record.principal,
        type=record.type,
        artifact=record.artifact,
        version=record.version,
        digest=record.digest,
        generation=record.generation,
        component=record.component,
        code=record.code,
        detail=record.detail,
        rule=record.rule,
        audit_id=record.id,
    )
