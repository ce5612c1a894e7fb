"""Probes and metrics of the processes that have no other HTTP door: worker and bridge. The gateway's own are in `gateway/routes/`.

`/livez` proves progress: the owner gives a function that says what does not move. `/readyz` tells restore progress the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

log = structlog.get_logger(__name__)

#: What is wrong, in words for an operator; empty when nothing is.
Check = Callable[[], list[str]]


@asynccontextmanager
async def side_door(host: str, port: int, *, live: Check, ready: Check) -> AsyncIterator[str]:
    """Serve while the context is open. Gives the address."""
    app = web.Application()
    app.router.add_get("/livez", _probe(live))
    app.router.add_get("/readyz", _probe(ready))
    app.router.add_get("/metrics", _metrics)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound = site._server.sockets[0].getsockname()  # type: ignore[union-attr]
    address = f"http://{bound[0]}:{bound[1]}"
    log.info("probes and metrics", address=address)
    try:
        yield address
    finally:
        await runner.cleanup()


def _probe(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        wrong = check()
        return web.Response(status=503 if wrong else 200, text="\n".join(wrong) or "ok")

    return answer


async def _metrics(_: web.Request) -> web.Response:
    text = await asyncio.to_thread(generate_latest)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
