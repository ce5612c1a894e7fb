"""How updates come over HTTP: POST /events, one CloudEvent in binary mode. 204 when it is kept, and not before."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.local.components.base import Component, problem
from gateway.local.components.held import Update
from streams.ce_headers import attributes_of
from streams.errors import Malformed


@asynccontextmanager
async def webhook(component: Component) -> AsyncIterator[None]:
    token = component.options.token_file.read_text().strip() if component.options.token_file else None

    async def take(request: web.Request) -> web.Response:
        if token is not None and not _bears(request, token):
            return problem(401, "the bearer token is missing or wrong")
        await request.read()
        match await component.fault():
            case "down":
                return problem(503, f"{component.name} is down, as it was told to be")
            case "reject":
                return problem(410, f"{component.name} rejects everything, as it was told to")
        try:
            component.held.take([_update(request)])
        except (KeyError, ValueError, Malformed) as exc:
            return problem(400, f"not an update of SyncMaster: {exc!r}")
        return web.Response(status=204)

    component.app.router.add_post("/events", take)
    yield


def _update(request: web.Request) -> Update:
    return Update.of(attributes_of({name.lower(): value for name, value in request.headers.items()}))


def _bears(request: web.Request, token: str) -> bool:
    return hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode())
