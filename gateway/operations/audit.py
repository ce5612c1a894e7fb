"""The audit: what happened, newest first, as far as the caller may know of it."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec

from agents.authz import May, Resource
from gateway import cursors
from gateway.audit_models import AuditPage, AuditQuery, AuditView
from gateway.context import Context
from gateway.problems import Unavailable
from gateway.views import rfc3339
from tables.audit_search import Question
from tables.index import Found

#: Pages of the index that one answer may look through for what the caller may know of.
_LOOKS_MAX = 10
_ROW_BYTES = 8


async def search_audit(context: Context, query: AuditQuery, may: May) -> AuditPage:
    """A page that holds fewer than asked for may still have a next one."""
    if not context.audit_follower.ready:
        raise Unavailable("audit.restoring", "the audit index of this replica is still being filled, see /readyz")
    question, row = _question(query), _row(query.cursor)
    items: list[AuditView] = []
    for _ in range(_LOOKS_MAX):
        found = await asyncio.to_thread(context.audit.search, question, before=row, limit=query.limit)
        for each in found:
            row = each.row
            if _is_visible(each, may):
                items.append(_view(each))
            if len(items) == query.limit:
                break
        if len(items) == query.limit or len(found) < query.limit:
            break
    is_last = len(found) < query.limit and (not found or row == found[-1].row)
    return AuditPage(items=items, next_cursor=None if is_last or row is None else cursors.encode(row.to_bytes(_ROW_BYTES)))


def reindex(context: Context) -> None:
    context.audit_follower.reindex()


def _question(query: AuditQuery) -> Question:
    return Question(
        artifact=query.artifact,
        principal=query.principal,
        outcome=query.decision or "",
        rule=query.rule,
        component=query.component,
        text=query.text,
        since_ms=_ms(query.since),
        until_ms=_ms(query.until),
    )


def _ms(moment: datetime | None) -> int:
    return 0 if moment is None else max(1, int(moment.timestamp() * 1000))


def _row(cursor: str) -> int | None:
    place = cursors.decode(cursor)
    if place is not None and len(place) != _ROW_BYTES:
        raise cursors.malformed()
    return None if place is None else int.from_bytes(place) & (1 << 63) - 1


def _is_visible(found: Found, may: May) -> bool:
    record = found.record
    return may(Resource(type=record.type, artifact=record.artifact, component=record.component))


def _view(found: Found) -> AuditView:
    fields = msgspec.structs.asdict(found.record)
    at, outcome = rfc3339(fields.pop("at_ms")), fields.pop("outcome")
    return AuditView.model_validate(fields | {"at": at, "decision": outcome.value, "partition": found.partition})
