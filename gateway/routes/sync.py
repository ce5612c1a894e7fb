"""/v1/sync: what is out of step, and the manual trigger with its progress."""

from __future__ import annotations

from functools import partial

from agents.authz import Resource
from gateway import cursors
from gateway.operations import sync
from gateway.questions import SyncQuery, SyncRequest
from gateway.registry import Call, Read, Registry, Reply
from gateway.views import OperationView, OutOfStepPage

routes = Registry("sync")


@routes.get("/v1/sync", verbs=("read",), judged=True, refusals=(503,))
async def list_out_of_step(call: Call, query: SyncQuery) -> Reply[OutOfStepPage]:
    """Pairs of an artifact and a component that are out of step, with the reason."""
    page = sync.list_out_of_step(call.context, query, call.may("read"))
    return Reply(page, cursors.link(call.request, page.next_cursor))


@routes.post("/v1/sync", verbs=("sync",), judged=True, status=202, refusals=(404, 503))
async def trigger_sync(call: Call, body: SyncRequest) -> Reply[OperationView]:
    """Deliver again: one artifact, all that a component needs, or what a selector matches.

    Every artifact that it reaches must be the caller's to sync; if one is not, nothing is ordered.
    `Location` tells how far it is. If the log goes away in the middle, ask again: what was ordered twice is delivered twice.
    """
    operation = await sync.trigger_sync(call.context, call.principal, body, partial(call.known.require, "sync"))
    return Reply(operation, {"Location": f"/v1/sync/operations/{operation.id}"})


@routes.get("/v1/sync/operations/{id}", verbs=("read", "sync"), judged=True, refusals=(404, 503))
async def get_operation(call: Call, id: str, query: Read) -> OperationView:  # noqa: A002 -- the name in the path
    """How far a manual sync is: one's own, or anybody's for those who may read everything."""
    operation = sync.get_operation(call.context, id)
    if operation.principal != call.principal:
        call.known.require("read", Resource())
    return operation
