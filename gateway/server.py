"""The gateway process: makes the parts, serves until told to stop, closes them in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from agents.authz import Authorizer
from gateway.alerting.forwarder import Forwarder
from gateway.alerting.receivers import receivers
from gateway.alerting.recent import RecentAlerts
from gateway.app import build_app
from gateway.auth import Keyring
from gateway.context import Context
from gateway.nats_refusals import NatsRefusals
from gateway.refusals import Refusals
from streams.command_log import CommandLog
from streams.control_log import ControlLog
from streams.control_reader import ControlReader
from streams.login_advisories import LoginAdvisories
from streams.publisher import Publisher
from streams.settings import Settings
from streams.topics import Topics
from tables.audit_follower import AuditFollower
from tables.index import AuditIndex
from tables.queries import Queries
from tables.replica import Replica
from tables.status import Status
from tables.store import Stores

_BEAT_S = 1.0
_SHUTDOWN_S = 3.0
_HEADER_BYTES_MAX = 16_384
_KEEPALIVE_S = 75.0


async def run_gateway(settings: Settings, stop: asyncio.Event, *, on_ready: Callable[[str], None]) -> None:
    """Serve until `stop` is set. `on_ready` gets the URL once the port is bound; `/readyz` tells when reads are answered.

    Raises ConfigError for a key that cannot be read, OSError for a port that is taken, Fatal for a data_dir that is in use.
    """
    control, commands = ControlReader(settings.kafka), CommandLog(settings.kafka)
    keyring = Keyring(settings, Authorizer(settings), control)
    async with contextlib.AsyncExitStack() as stack:
        stores = Stores(settings.gateway.data_dir / "tables")
        stack.callback(stores.close_all)
        topics = Topics(settings.kafka.topic_prefix)
        replica = Replica(settings.kafka.bootstrap, topics, settings.kafka.partitions, stores)
        status = Status(stores)
        replica.on_change, replica.on_drop = status.changed, status.forget
        audit = AuditIndex(settings.gateway.data_dir / "audit.sqlite")
        stack.callback(audit.close)
        context = Context(
            settings=settings,
            replica=replica,
            queries=Queries(stores, settings.kafka.partitions),
            status=status,
            audit=audit,
            audit_follower=AuditFollower(settings.kafka, audit),
            publisher=Publisher(settings.nats),
            commands=commands,
            control=control,
            control_log=ControlLog(settings.kafka),
            refusals=Refusals(commands),
            alerts=RecentAlerts(settings.kafka),
        )
        advisories = LoginAdvisories(settings.nats, NatsRefusals(settings, context.refusals).take)
        forwarders = [Forwarder(settings, receiver) for receiver in receivers(settings, context.publisher)]
        url = await _serve(stack, context, keyring)
        stack.push_async_callback(context.commands.aclose)
        stack.push_async_callback(context.control_log.aclose)
        parts = context.publisher, context.control, context.audit_follower, context.refusals, advisories, context.alerts
        for part in parts:
            await part.start()
            stack.push_async_callback(part.aclose)
        for forwarder in forwarders:
            await forwarder.start()
            stack.push_async_callback(forwarder.aclose)
        await _restore(stack, context, stores, replica)
        on_ready(url)
        await stop.wait()


async def _serve(stack: contextlib.AsyncExitStack, context: Context, keyring: Keyring) -> str:
    """Bind first: probes and the page answer while the rest comes up."""
    app = build_app(context, keyring)
    limits: dict[str, Any] = {"max_line_size": _HEADER_BYTES_MAX, "max_field_size": _HEADER_BYTES_MAX}
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=_KEEPALIVE_S, shutdown_timeout=_SHUTDOWN_S, **limits)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, context.settings.gateway.host, context.settings.gateway.port)
    await site.start()
    beat = asyncio.create_task(_keep_beat(context), name="gateway-beat")
    stack.callback(beat.cancel)
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _restore(stack: contextlib.AsyncExitStack, context: Context, stores: Stores, replica: Replica) -> None:
    """Count what the stores have before anything is applied to them, then follow the changelogs."""
    for partition in range(context.settings.kafka.partitions):
        stores.open(partition)
        await context.status.rebuild(partition)
    await replica.start()
    stack.push_async_callback(replica.aclose)


async def _keep_beat(context: Context) -> None:
    while True:
        context.beat.at_s = time.monotonic()
        context.restore_rate.sample(context.beat.at_s, sum(p.applied for p in context.replica.progress().values()))
        await asyncio.sleep(_BEAT_S)
