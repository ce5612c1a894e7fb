"""What the example components share: options, a page that shows what they hold, faults on demand, an orderly end.

GET  /livez      200
GET  /v1/held    what it has: see `held.py`
POST /v1/fault   {"mode": "ok" | "down" | "slow" | "reject"}, only with --faults
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.local.components.held import Held
from streams.logs import configure_logging

HOST = "127.0.0.1"
SLOW_S = 1.0
_BODY_BYTES_MAX = 2 << 20
_MODES = ("ok", "down", "slow", "reject")

Receiver = Callable[["Component"], AbstractAsyncContextManager[None]]


class Component:
    """One process: what it holds, how it misbehaves, its HTTP application. A receiver adds the way in which updates come."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name = name
        self.options = options
        self.held = Held(options.data)
        self.mode = "ok"
        self.app = web.Application(client_max_size=_BODY_BYTES_MAX)
        self.app.router.add_get("/livez", self._livez)
        self.app.router.add_get("/v1/held", self._held)
        if options.faults:
            self.app.router.add_post("/v1/fault", self._fault)

    async def fault(self) -> str:
        """How to treat the update at hand: `ok`, `down` or `reject`. Slowness has been waited for."""
        if self.mode == "slow":
            await asyncio.sleep(SLOW_S)
            return "ok"
        return self.mode

    async def _livez(self, _: web.Request) -> web.Response:
        return web.json_response({"component": self.name})

    async def _held(self, _: web.Request) -> web.Response:
        return web.json_response({"component": self.name, **self.held.summary()})

    async def _fault(self, request: web.Request) -> web.Response:
        mode = await _mode_of(request)
        if mode not in _MODES:
            return problem(400, f'expected {{"mode": one of {", ".join(_MODES)}}}')
        self.mode = mode
        return web.json_response({"mode": mode})


def main(name: str, receiver: Receiver, arguments: list[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT. Prints one line of JSON when updates can come."""
    configure_logging("WARNING")
    asyncio.run(_serve(Component(name, _options(name, arguments)), receiver))


def problem(status: int, detail: str) -> web.Response:
    """RFC 9457."""
    return web.json_response({"status": status, "detail": detail}, status=status, content_type="application/problem+json")


async def _serve(component: Component, receiver: Receiver) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):  # also while the receiver still waits for its server
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        async with receiver(component):
            await _run_http(component)
    except asyncio.CancelledError:
        return
    finally:
        component.held.close()


async def _run_http(component: Component) -> None:
    runner = web.AppRunner(component.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, component.options.port).start()
        print(json.dumps({"ready": True, "port": runner.addresses[0][1]}), flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _mode_of(request: web.Request) -> Any:
    try:
        body = await request.json()
    except ValueError:
        return None
    return body.get("mode") if isinstance(body, dict) else None


def _options(name: str, arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(name, description="An example component: keeps the updates that it gets, and shows them.")
    parser.add_argument("--port", type=int, default=0, help="of its HTTP side; 0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="directory for what it keeps")
    parser.add_argument("--token-file", type=Path, help="holds the bearer token that deliveries have to bring")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", help="URL of the NATS server")
    parser.add_argument("--user", default=name, help="NATS user")
    parser.add_argument("--password-file", type=Path, help="holds the NATS user's password")
    parser.add_argument("--faults", action="store_true", help="allow POST /v1/fault")
    return parser.parse_args(arguments)
