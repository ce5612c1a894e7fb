"""What the real sinks do beyond their contract: limits, credentials, streams that are full, answers that make no sense."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from nats.aio.msg import Msg

from agents.routing import Routing
from agents.sinks.actor import SinkActor
from agents.sinks.base import Delivery, Held, before_first_byte
from agents.sinks.factory import make_sink
from agents.sinks.sink_http import HttpSink
from agents.sinks.sink_nats import NatsSink
from gateway.local.nats_server import NatsServer
from streams.errors import Away, Rejected, Retriable
from streams.settings import HttpSink as HttpConfig
from streams.settings import SecretRef, Settings
from tables.model import SyncState
from tests.brokers import connected
from tests.deliveries import HandClock, Partition, delivery, routed, wait_until
from tests.holding import nothing_held

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def http_component(handler: Handler, *, port: int = 0) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/events", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def http_sink(url: str, **options: object) -> AsyncIterator[HttpSink]:
    sink = HttpSink(HttpConfig(type="http", url=url, **({"timeout_s": 2} | options)))  # type: ignore[arg-type]
    try:
        yield sink
    finally:
        await sink.aclose()


class TestHttp:
    async def test_bearer(self, tmp_path: Path) -> None:
        """The bearer token is read at each delivery, so that it can be replaced while the worker runs."""
        seen: list[str] = []

        async def take(request: web.Request) -> web.Response:
            seen.append(request.headers["Authorization"])
            return web.Response()

        secret = tmp_path / "token"
        async with http_component(take) as url, http_sink(url, bearer=SecretRef(file=secret)) as sink:
            with pytest.raises(Away, match="cannot read the secret file"):
                await sink.deliver(delivery())
            for token in ("one", "two"):
                secret.write_text(token)
                await sink.deliver(delivery())
        assert seen == ["Bearer one", "Bearer two"]

    async def test_nothing_is_sent_when_the_last_question_says_no(self) -> None:
        """With the connection made and the first byte still here, a delivery that may not begin any more is not sent."""
        seen: list[str] = []

        async def take(request: web.Request) -> web.Response:
            seen.append(request.headers["Idempotency-Key"].partition("@")[0])
            return web.Response()

        def refuse() -> None:
            raise Held

        async with http_component(take) as url, http_sink(url) as sink:
            for is_held in (False, True, False):
                token = before_first_byte.set(refuse if is_held else lambda: None)
                with pytest.raises(Held) if is_held else contextlib.nullcontext():
                    await sink.deliver(delivery("chart/held" if is_held else "chart/free"))
                before_first_byte.reset(token)
        assert seen == ["chart/free", "chart/free"]

    async def test_redirect_is_not_followed(self) -> None:
        """A redirect is no receipt and is not followed: it could lead a delivery, and its token, anywhere."""
        calls = 0

        async def redirect(_: web.Request) -> web.Response:
            nonlocal calls
            calls += 1
            raise web.HTTPTemporaryRedirect("/events")

        async with http_component(redirect) as url, http_sink(url) as sink:
            with pytest.raises(Rejected, match="HTTP 307"):
                await sink.deliver(delivery())
        assert calls == 1

    async def test_endless_answer(self) -> None:
        """An answer without end costs a bounded amount: its beginning is read and it is left."""

        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(status=400)
            await response.prepare(request)
            while True:
                await response.write(b"x" * 65_536)

        async with http_component(endless) as url, http_sink(url) as sink:
            with pytest.raises(Rejected) as caught:
                await sink.deliver(delivery())
        assert len(str(caught.value)) < 400

    async def test_no_answer(self) -> None:
        """A component that takes the request and says nothing counts as away when the time is up."""
        released = asyncio.Event()

        async def silent(_: web.Request) -> web.Response:
            await released.wait()
            return web.Response()

        async with http_component(silent) as url, http_sink(url, timeout_s=0.05) as sink:
            with pytest.raises(Away, match="no answer"):
                await sink.deliver(delivery())
            released.set()

    async def test_broken_answer(self) -> None:
        """What is not HTTP counts as away."""

        async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"\x00\x01 nonsense\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(garbage, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, http_sink(f"http://127.0.0.1:{port}/events") as sink:
            with pytest.raises(Away):
                await sink.deliver(delivery())


@pytest.mark.connected
class TestNats:
    async def test_repeated_delivery_is_stored_once(self, fresh_nats: NatsServer, orbit_settings: Settings) -> None:
        """A delivery repeated after a doubt is acknowledged and not stored a second time."""
        settings = _at(orbit_settings, fresh_nats)
        async with nats_sink("c12", settings) as sink, connected(fresh_nats, settings, "operator") as client:
            for _ in range(2):
                await sink.deliver(delivery())
            info = await client.jetstream().stream_info("SM_SYNC_c12")
            assert (info.state.messages, info.config.retention) == (1, "workqueue")

    async def test_full_stream(self, fresh_nats: NatsServer, orbit_settings: Settings) -> None:
        """A component that does not take its updates fills its stream, loses none of them, and counts as away."""
        settings = _at(orbit_settings, fresh_nats, stream_bytes_max=1 << 20)
        large = b"1" * 200_000
        async with nats_sink("c12", settings) as sink, connected(fresh_nats, settings, "operator") as client:
            updates = [_with_data(delivery(generation=generation), large) for generation in range(1, 6)]
            for update in updates:
                await sink.deliver(update)
            with pytest.raises(Away, match="maximum bytes exceeded"):
                await sink.deliver(_with_data(delivery(generation=6), large))
            assert (await client.jetstream().stream_info("SM_SYNC_c12")).state.first_seq == 1

    async def test_nobody_answers(self, fresh_nats: NatsServer, orbit_settings: Settings) -> None:
        """A request that nobody listens to counts as away at once, not when the time is up."""
        async with nats_sink("c28", _at(orbit_settings, fresh_nats)) as sink:
            started_s = time.monotonic()
            with pytest.raises(Away, match="nobody listens"):
                await sink.deliver(delivery())
            assert time.monotonic() - started_s < 2

    @pytest.mark.parametrize("reply", [b"", b"ok", b'{"status": "fine"}', b'{"status": 1}', b"\xff"])
    async def test_senseless_reply(self, fresh_nats: NatsServer, orbit_settings: Settings, reply: bytes) -> None:
        """A reply that is not understood is no receipt and no rejection: the update is tried again."""
        settings = _at(orbit_settings, fresh_nats)
        async with nats_sink("c28", settings) as sink, connected(fresh_nats, settings, "c28") as client:

            async def answer(message: Msg) -> None:
                await message.respond(reply)

            await client.subscribe("sync.c28.*", cb=answer)
            await client.flush()
            with pytest.raises(Retriable, match="not understood"):
                await sink.deliver(delivery())

    async def test_wrong_password(self, fresh_nats: NatsServer, orbit_settings: Settings, tmp_path: Path) -> None:
        """With a wrong password the component counts as away, and the password is in no message."""
        wrong = tmp_path / "wrong"
        wrong.write_text("hunter2")
        async with nats_sink(
            "c28", _at(orbit_settings, fresh_nats, worker_password=SecretRef(file=wrong)), timeout_s=0.3
        ) as sink:
            with pytest.raises(Away) as caught:
                await sink.deliver(delivery())
        assert "hunter2" not in str(caught.value)


async def test_component_down_during_import() -> None:
    """A real component that is down during an import and comes back gets every version in order, by itself."""
    taken: list[str] = []

    async def take(request: web.Request) -> web.Response:
        taken.append(f"{request.headers['ce-smartifact']}@{request.headers['ce-smversion']}")
        return web.Response(status=204)

    async with http_component(take) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
    component = {"sink": {"type": "http", "url": url}, "backoff_s_min": 0.01, "backoff_s_max": 0.05}
    settings = Settings.model_validate(routed("every").model_dump() | {"components": {"c": component}})
    routing = Routing(settings)
    partition = Partition(routing, HandClock())
    sink = make_sink("c", settings.components["c"], settings)
    assert sink is not None
    actor = SinkActor("c", settings.components["c"], sink, routing, nothing_held())
    partition.listeners.append(actor)
    await actor.start()
    actor.assign(partition)
    versions = [f"{n}.0.0" for n in range(30)]
    for artifact in ("chart/a", "chart/b", "chart/c"):
        partition.publish(artifact, *versions)
    await wait_until(lambda: len(partition.receipts) > 2, what="probes")
    async with http_component(take, port=port):
        await wait_until(lambda: all(head.sync["c"].state is SyncState.IN_SYNC for _, head in partition.heads()), within_s=10)
    await actor.aclose()
    for artifact in ("chart/a", "chart/b", "chart/c"):
        assert [entry for entry in taken if entry.startswith(artifact)] == [f"{artifact}@{version}" for version in versions]


@asynccontextmanager
async def nats_sink(name: str, settings: Settings, timeout_s: float = 3.0) -> AsyncIterator[NatsSink]:
    config = settings.components[name].sink.model_copy(update={"timeout_s": timeout_s})
    sink = NatsSink(name, config, settings)  # type: ignore[arg-type]
    try:
        yield sink
    finally:
        await sink.aclose()


def _at(settings: Settings, server: NatsServer, **changes: object) -> Settings:
    return settings.model_copy(update={"nats": settings.nats.model_copy(update={"url": server.url} | changes)})


def _with_data(update: Delivery, data: bytes) -> Delivery:
    return Delivery(
        update.component, update.artifact, update.generation, update.version, None, update.attributes, data, update.content_type
    )
