"""/v1/quarantine."""

from __future__ import annotations

from gateway import cursors
from gateway.operations import quarantine
from gateway.questions import QuarantineQuery
from gateway.registry import Call, Read, Registry, Reply
from gateway.views import QuarantinedMessage, QuarantinePage

routes = Registry("quarantine")


@routes.get("/v1/quarantine", verbs=("read",), judged=True, refusals=(503,))
async def list_quarantine(call: Call, query: QuarantineQuery) -> Reply[QuarantinePage]:
    """Messages that could not be used or were parked, with the reason."""
    page = quarantine.list_quarantine(call.context, query, call.may("read"))
    return Reply(page, cursors.link(call.request, page.next_cursor))


@routes.get("/v1/quarantine/{artifact}/{id}", verbs=("read",), artifact="artifact", refusals=(404, 503))
async def get_quarantined(call: Call, artifact: str, id: str, query: Read) -> QuarantinedMessage:  # noqa: A002 -- as in the path
    """One message with its original bytes."""
    return quarantine.get_quarantined(call.context, artifact, id)
