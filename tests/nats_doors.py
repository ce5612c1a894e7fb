"""A nats-server of a test's own, and clients that log in to it with whatever they have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from gateway.local.nats_server import NatsServer
from streams.settings import Settings
from tests.brokers import User


async def eventually(condition: Callable[[], bool], within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@contextmanager
def serving(directory: Path, settings: Settings) -> Iterator[NatsServer]:
    server = NatsServer(directory, settings)
    server.start()
    try:
        yield server
    finally:
        server.kill9()


@asynccontextmanager
async def logged_in(server: NatsServer, **options: Any) -> AsyncIterator[User]:
    """Anybody, with whatever they have. Raises what the client raises when the server refuses."""
    client = User()
    try:
        await client.connect(server.url, error_cb=client.complain, allow_reconnect=False, connect_timeout=5, **options)
        yield client
    finally:
        await client.close()
        if client._transport is not None:
            client._transport.close()  # which is left open where the server refused
