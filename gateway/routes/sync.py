"""/v1/sync: what is out of step, and the manual trigger with its progress."""

from __future__ import annotations

from gateway import cursors
from gateway.operations import sync
from gateway.questions import SyncQuery, SyncRequest
from gateway.registry import Call, Read, Registry, Reply
from gateway.views import OperationView, OutOfStepPage

routes = Registry("sync")


@routes.get("/v1/sync", verbs=("read",), refusals=(503,))
async def list_out_of_step(call: Call, query: SyncQuery) -> Reply[OutOfStepPage]:
    """Pairs of an artifact and a component that are out of step, with the reason."""
    page = sync.list_out_of_step(call.context, query)
    return Reply(page, cursors.link(call.request, page.next_cursor))


@routes.post("/v1/sync", verbs=("sync",), status=202, refusals=(404, 503))
async def trigger_sync(call: Call, body: SyncRequest) -> Reply[OperationView]:
    """Deliver again: one artifact, all that a component needs, or what a selector matches.

    `Location` tells how far it is. If the log goes away in the middle, ask again: what was ordered twice is delivered twice.
    """
    operation = await sync.trigger_sync(call.context, call.principal, body)
    return Reply(operation, {"Location": f"/v1/sync/operations/{operation.id}"})


@routes.get("/v1/sync/operations/{id}", verbs=("read", "sync"), refusals=(404, 503))
async def get_operation(call: Call, id: str, query: Read) -> OperationView:  # noqa: A002 -- the name in the path
    """How far a manual sync is."""
    return sync.get_operation(call.context, id)
