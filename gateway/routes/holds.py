"""/v1/holds: what is not delivered, since when, by whom and why; and how to let it go."""

from __future__ import annotations

from gateway import cursors
from gateway.hold_models import HoldRequest, HoldsPage, HoldsQuery, ReleaseRequest
from gateway.operations import holds
from gateway.registry import Call, Read, Registry, Reply
from gateway.views import HoldView

routes = Registry("holds")


@routes.get("/v1/holds", verbs=("read",), judged=True, refusals=(503,))
async def list_holds(call: Call, query: HoldsQuery) -> Reply[HoldsPage]:
    """Holds in effect, by id."""
    page = holds.list_holds(call.context, query, call.may("read"))
    return Reply(page, cursors.link(call.request, page.next_cursor))


@routes.get("/v1/holds/{id}", verbs=("read",), judged=True, refusals=(404, 503))
async def get_hold(call: Call, id: str, query: Read) -> HoldView:  # noqa: A002 -- the name in the path
    """One hold; 404 once it is released."""
    return holds.get_hold(call.context, id, call.may("read"))


@routes.post("/v1/holds", verbs=("hold", "pause", "halt"), judged=True, status=202, refusals=(503,))
async def make_hold(call: Call, body: HoldRequest) -> Reply[HoldView]:
    """Stop deliveries. No attempt begins later than a second after the answer, on any worker; those under way finish.

    Events are judged and kept in order meanwhile. What may be stopped, and which of the three verbs it takes, depends on the body.
    """
    hold = await holds.make_hold(call.context, call.known, call.remote, body)
    return Reply(hold, {"Location": f"/v1/holds/{hold.id}"})


@routes.post("/v1/holds/{id}/release", verbs=("release",), judged=True, status=202, refusals=(404, 503))
async def release_hold(call: Call, id: str, body: ReleaseRequest) -> HoldView:  # noqa: A002 -- the name in the path
    """Let go: everything that waited is brought in step by itself, unless another hold stops it too."""
    return await holds.release_hold(call.context, call.known, call.remote, id, body)
