"""A NATS server of the benchmark's own, with file storage and SyncMaster's accounts, and clients of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from benchmarks.workload import PRINCIPAL
from gateway.local.nats_server import NatsServer
from gateway.local.secrets import Secrets
from streams.nats_door import api, connect
from streams.nats_streams import ensure, stream_config
from streams.settings import Settings

_IN_FLIGHT_MAX = 2000


class BenchNats(NatsServer):
    """`sync`: `always`, as it ships where a stream has one replica, or the server's own default, `2m`."""

    def __init__(self, directory: Path, settings: Settings, *, sync: str = "always") -> None:
        super().__init__(directory, settings)
        self.sync = sync

    def _write_config(self) -> None:
        super()._write_config()
        self._config.write_text(re.sub(r'(sync_interval"?: )"always"', rf'\1"{self.sync}"', self._config.read_text()))


def with_secrets(content: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The configuration with a password for everybody who connects."""
    secrets = Secrets(directory / "secrets")

    def password(name: str) -> dict[str, str]:
        return {"file": str(secrets.path(f"{name}.nats"))}

    own = {f"{who}_password": password(who) for who in ("bridge", "gateway", "worker")}
    principals = {name: {**principal, "nats_password": password(name)} for name, principal in content["principals"].items()}
    return {**content, "nats": {**content.get("nats", {}), **own}, "principals": principals}


def at(content: dict[str, Any], server: NatsServer) -> dict[str, Any]:
    """The configuration, pointed at the server."""
    return {**content, "nats": {**content["nats"], "url": server.url, "monitor_url": server.monitoring_url}}


@asynccontextmanager
async def client(settings: Settings, user: str) -> AsyncIterator[Client]:
    own = settings.nats
    password = own.bridge_password if user == own.bridge_user else settings.principals[user].nats_password
    connection = await connect(Client(), own, user, password, name=f"bench-{user}")
    try:
        yield connection
    finally:
        await connection.close()


async def make_stream(settings: Settings) -> None:
    async with client(settings, settings.nats.bridge_user) as bridge:
        await ensure(bridge, stream_config(settings, PRINCIPAL))


async def delete_streams(settings: Settings, names: Iterable[str]) -> None:
    async with client(settings, settings.nats.bridge_user) as bridge:
        there = (await api(bridge, "STREAM.NAMES"))["streams"] or []
        for name in set(names) & set(there):
            await api(bridge, f"STREAM.DELETE.{name}")


async def fill(settings: Settings, bodies: Iterable[bytes]) -> int:
    """Publish into the principal's stream, many at once, each acknowledged; returns how many."""
    slots, count = asyncio.Semaphore(_IN_FLIGHT_MAX), 0
    async with client(settings, PRINCIPAL) as publisher, asyncio.TaskGroup() as group:
        stream = publisher.jetstream(timeout=60, publish_async_max_pending=_IN_FLIGHT_MAX)

        async def acknowledged(future: asyncio.Future[Any]) -> None:
            await future
            slots.release()

        for body in bodies:
            await slots.acquire()
            group.create_task(acknowledged(await stream.publish_async(f"sm.in.{PRINCIPAL}.bench", body)))
            count += 1
    return count
