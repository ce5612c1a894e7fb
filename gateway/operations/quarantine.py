"""Messages that were set aside, with the reason; one of them with its original bytes."""

from __future__ import annotations

from agents.authz import May, Resource
from gateway import cursors
from gateway.context import Context
from gateway.questions import QuarantineQuery
from gateway.views import QuarantinedMessage, QuarantinePage, QuarantineView, rfc3339
from tables.model import Quarantined
from tables.queries import QuarantineFilter


def list_quarantine(context: Context, query: QuarantineQuery, may_read: May) -> QuarantinePage:
    """What may be read, by artifact key, then in the order in which they came."""
    context.require_ready()
    page = context.queries.quarantine(
        QuarantineFilter(prefix=query.prefix, principal=query.principal),
        after=cursors.decode(query.cursor),
        limit=query.limit,
        visible=lambda key: may_read(Resource(artifact=key)),
    )
    items = [QuarantineView.model_validate(_fields(row.artifact, row.id, row.message)) for row in page.rows]
    return QuarantinePage(items=items, next_cursor=cursors.encode(page.after))


def get_quarantined(context: Context, artifact: str, ident: str) -> QuarantinedMessage:
    message = context.queries.quarantined(artifact, ident)
    if message is None:
        raise context.unknown("quarantine.unknown", "no message is in quarantine under this key and id")
    original = {"ingress": message.ingress, "headers": message.headers, "body_base64": message.body_base64}
    return QuarantinedMessage.model_validate(_fields(artifact, ident, message) | original)


def _fields(artifact: str, ident: str, message: Quarantined) -> dict[str, object]:
    return {
        "artifact": artifact,
        "id": ident,
        "reason": message.reason,
        "detail": message.detail,
        "rule": message.rule,
        "principal": message.principal,
        "at": rfc3339(message.at_ms),
    }
