"""The gateway as an aiohttp application: routes, and around each of them errors, metrics and headers. Parts are made in `server.py`."""

from __future__ import annotations

import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway import audit_page, pages
from gateway.auth import Keyring
from gateway.context import Context
from gateway.openapi import build_openapi
from gateway.problems import Problem, problem_for
from gateway.registry import CONTEXT, KEYRING, Registry
from gateway.routes import alerts, artifacts, audit, authz, components, events, holds, keys, quarantine, status, sync
from gateway.serving import add_routes
from streams import metrics

_log = structlog.get_logger(__name__)

REGISTRIES: list[Registry] = [
    artifacts.routes,
    components.routes,
    sync.routes,
    events.routes,
    holds.routes,
    quarantine.routes,
    audit.routes,
    alerts.routes,
    authz.routes,
    keys.routes,
    status.routes,
    pages.routes,
    audit_page.routes,
]
#: A batch may be larger than one event; each event of it is bounded by limits.event_bytes_max.
BODY_BYTES_MAX = 4 << 20
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def build_app(context: Context, keyring: Keyring) -> web.Application:
    app = web.Application(middlewares=[_observed, _answered], client_max_size=BODY_BYTES_MAX)
    app[CONTEXT] = context
    app[KEYRING] = keyring
    app[status.OPENAPI] = build_openapi(REGISTRIES)
    app.on_response_prepare.append(_add_headers)
    add_routes(app, REGISTRIES)
    return app


@web.middleware
async def _observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    began = time.perf_counter()
    response = await handler(request)
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"  # never the path itself: it holds artifact keys
    method = request.method if request.method in ("GET", "HEAD", "POST") else "other"
    metrics.HTTP_REQUESTS.labels(method, route, str(response.status)).inc()
    metrics.HTTP_SECONDS.labels(method, route).observe(time.perf_counter() - began)
    return response


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong becomes a problem document; what nobody foresaw is logged with its trace and told without it."""
    try:
        return await handler(request)
    except Exception as exc:
        problem = problem_for(exc)
        if problem is None:
            _log.exception("a request failed for a reason that nobody foresaw", method=request.method)
            problem = Problem(500, "internal", "this is our mistake; it is in the log of the gateway")
        return pages.page_for(request, problem) or problem.response(request)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
