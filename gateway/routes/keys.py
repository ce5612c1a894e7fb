"""/v1/keys: who has API keys. A key itself is in the answer that makes it, and nowhere else."""

from __future__ import annotations

from gateway import cursors
from gateway.key_models import KeyRequest, KeysPage, KeysQuery, KeyView, NewKeyView, RevokeRequest, RotateRequest
from gateway.operations import keys
from gateway.registry import KEYRING, Call, Registry, Reply

routes = Registry("keys")


@routes.get("/v1/keys", verbs=("admin",), refusals=(503,))
async def list_keys(call: Call, query: KeysQuery) -> Reply[KeysPage]:
    """API keys by id, without what opens a door; those that are revoked and expired too."""
    page = keys.list_keys(call.context, call.request.app[KEYRING].keys.configured, query)
    return Reply(page, cursors.link(call.request, page.next_cursor))


@routes.post("/v1/keys", verbs=("admin",), status=201, refusals=(503,))
async def create_key(call: Call, body: KeyRequest) -> Reply[NewKeyView]:
    """Make an API key for a principal. It is shown in this answer, and never again."""
    made = await keys.create_key(call.context, call.known, call.remote, body)
    return Reply(made)


@routes.post("/v1/keys/{id}/rotate", verbs=("admin",), status=201, refusals=(404, 503))
async def rotate_key(call: Call, id: str, body: RotateRequest) -> Reply[NewKeyView]:  # noqa: A002 -- the name in the path
    """Make a second key like this one. Both are good for a while, so that nobody has to stop."""
    return Reply(await keys.rotate_key(call.context, call.known, call.remote, id, body))


@routes.post("/v1/keys/{id}/revoke", verbs=("admin",), refusals=(404, 503))
async def revoke_key(call: Call, id: str, body: RevokeRequest) -> KeyView:  # noqa: A002 -- the name in the path
    """Make a key good for nothing, on every gateway within a second."""
    return await keys.revoke_key(call.context, call.known, call.remote, id, body)
