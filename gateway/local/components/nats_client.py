"""The NATS connection of an example component: as its own user, with a private inbox, again and again while the server is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import structlog
from nats.aio.client import Client

from gateway.local.components.base import Component
from streams.logs import AWAY

log = structlog.get_logger(__name__)


@asynccontextmanager
async def nats_client(component: Component) -> AsyncIterator[Client]:
    options = component.options
    password = options.password_file.read_text().strip() if options.password_file else None
    client = await nats.connect(
        options.nats,
        user=options.user if password else None,
        password=password,
        name=component.name,
        inbox_prefix=f"_INBOX_{options.user}",
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.5,
        error_cb=_tell,
    )
    try:
        yield client
    finally:
        await client.close()


async def _tell(exc: Exception) -> None:
    AWAY.warning(log, "nats", "NATS client error", error=repr(exc))
