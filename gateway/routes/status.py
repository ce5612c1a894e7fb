"""/v1/status, the probes, /metrics and /openapi.json."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway import tokens
from gateway.operations import status
from gateway.problems import unavailable
from gateway.questions import ReadyQuery
from gateway.registry import Call, Read, Registry
from gateway.views import LiveView, RestoreView, StatusView

routes = Registry("status")
OPENAPI = web.AppKey("openapi", str)


@routes.get("/v1/status", verbs=("read",))
async def get_status(call: Call, query: Read) -> StatusView:
    """Everything on the status page. Also while the replica is being restored: `replica.ready` tells."""
    await tokens.wait_audited(call.context, query.min_token)
    return status.get_status(call.context)


@routes.get("/livez", verbs=(), refusals=(503,))
async def get_live(call: Call) -> LiveView:
    """Whether this process still gets anywhere; if not, it should be restarted."""
    live = status.get_live(call.context)
    if not live.live:
        raise unavailable("process.stalled", "restart this process", checks=live.checks)
    return live


@routes.get("/readyz", verbs=(), refusals=(400, 503))
async def get_ready(call: Call, query: ReadyQuery) -> RestoreView | web.Response:
    """Whether this replica answers reads; before that, how far its restore is."""
    checks = status.get_ready(call.context)
    ready = all(check == "ok" for check in checks.values())
    if query.verbose is not None:
        return _lines(checks, ready)
    restore = status.get_restore(call.context)
    if not ready:
        raise unavailable("replica.restoring", "not ready to answer reads", checks=checks, restore=restore.model_dump())
    return restore


@routes.get("/metrics", verbs=(), produces="text/plain")
async def get_metrics(call: Call) -> web.Response:
    """Metrics in Prometheus' text format."""
    status.observe(call.context)
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@routes.get("/openapi.json", verbs=(), anyone=True)
async def get_openapi(call: Call) -> web.Response:
    """This description."""
    return web.Response(text=call.request.app[OPENAPI], content_type="application/json")


def _lines(checks: dict[str, str], ready: bool) -> web.Response:
    lines = [f"[+]{name} ok" if check == "ok" else f"[-]{name} {check}" for name, check in checks.items()]
    lines.append(f"readyz check {'passed' if ready else 'failed'}\n")
    return web.Response(text="\n".join(lines), status=200 if ready else 503)
