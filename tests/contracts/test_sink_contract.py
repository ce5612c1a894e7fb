"""What every sink promises (agents/sinks/base.py), stated once and run on the sink in memory, HTTP and both modes of NATS, all real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from nats.aio.client import Client
from nats.aio.msg import Msg

from agents.sinks.base import Delivery, Sink
from agents.sinks.sink_http import HttpSink
from agents.sinks.sink_nats import NatsSink
from gateway.local.nats_server import NatsServer
from gateway.local.ports import choose_port
from streams.ce_headers import attributes_of
from streams.errors import Away, Rejected, Retriable
from streams.settings import HttpSink as HttpConfig
from streams.settings import Settings
from tests.brokers import connected
from tests.deliveries import ScriptedSink, delivery, wait_until


class Bench:
    """A sink and the component behind it. `script` holds the component's next answers, `ok` when it is empty."""

    sink: Sink

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []  # idempotency key, attributes, data
        self.script: list[str] = []

    def answer(self, key: str, attributes: dict[str, str], data: bytes) -> str:
        """What the component says now; it has the update exactly when it says `ok`."""
        word = self.script.pop(0) if self.script else "ok"
        if word == "ok":
            self.got.append((key, attributes, data))
        return word

    async def leave(self) -> None:
        raise NotImplementedError

    async def come_back(self) -> None:
        raise NotImplementedError

    async def wait_got(self, count: int) -> None:
        await wait_until(lambda: len(self.got) >= count, what=f"{count} updates at the component")


class MemoryBench(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.sink = scripted = ScriptedSink()
        scripted.answer = self._take
        self._there = True

    def _take(self, delivery: Delivery) -> None:
        if not self._there:
            raise Away("gone")
        match self.answer(delivery.key, delivery.attributes, delivery.data):
            case "retry":
                raise Retriable("busy", retry_after_s=7)
            case "reject":
                raise Rejected("never")

    async def leave(self) -> None:
        self._there = False

    async def come_back(self) -> None:
        self._there = True


class HttpBench(Bench):
    def __init__(self) -> None:
        super().__init__()
        self._port = choose_port(None)
        self.sink = HttpSink(HttpConfig(type="http", url=f"http://127.0.0.1:{self._port}/events", timeout_s=2))
        self._runner: web.AppRunner | None = None

    async def _post(self, request: web.Request) -> web.Response:
        attributes = attributes_of({name.lower(): value for name, value in request.headers.items()})
        match self.answer(request.headers["Idempotency-Key"], attributes, await request.read()):
            case "retry":
                return web.Response(status=500, headers={"Retry-After": "7"}, text="busy")
            case "reject":
                return web.json_response({"detail": "never"}, status=410, content_type="application/problem+json")
            case _:
                return web.Response(status=204)

    async def leave(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def come_back(self) -> None:
        app = web.Application()
        app.router.add_post("/events", self._post)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()


class NatsBench(Bench):
    """`component` connects as the component's own user, with the permissions that ship."""

    def __init__(self, server: NatsServer, settings: Settings, name: str) -> None:
        super().__init__()
        self._server = server
        config = settings.components[name].sink.model_copy(update={"timeout_s": 2.0})
        self.sink = NatsSink(name, config, settings)  # type: ignore[arg-type]
        self.tasks: list[asyncio.Task[None]] = []

    async def leave(self) -> None:
        await asyncio.to_thread(self._server.kill9)

    async def come_back(self) -> None:
        if not self._server.running:
            await asyncio.to_thread(self._server.start)

    async def respond(self, message: Msg) -> None:
        headers = message.headers or {}
        match self.answer(headers["ce-smkey"], attributes_of(headers), message.data):
            case "retry":
                answer: dict[str, Any] = {"status": "retry", "retry_after_s": 7, "detail": "busy"}
            case "reject":
                answer = {"status": "rejected", "detail": "never"}
            case _:
                answer = {"status": "ok"}
        await message.respond(json.dumps(answer).encode())

    async def pull(self, client: Client, stream: str) -> None:
        """As a component does: a durable consumer, an acknowledgement when the update is kept."""
        jetstream = client.jetstream(timeout=2)
        subscription = None
        while True:
            with suppress(Exception):  # the stream is made by the first delivery, and the server comes and goes
                subscription = subscription or await jetstream.pull_subscribe_bind("taker", stream=stream)
                for message in await subscription.fetch(10, timeout=1):
                    headers = message.headers or {}
                    self.answer(headers["Nats-Msg-Id"], attributes_of(headers), message.data)
                    await message.ack()
                continue
            with suppress(Exception):
                await jetstream.add_consumer(stream, durable_name="taker", ack_policy="explicit")  # type: ignore[arg-type]
            await asyncio.sleep(0.02)


@asynccontextmanager
async def memory_bench(_: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    yield MemoryBench()


@asynccontextmanager
async def http_bench(_: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bench = HttpBench()
    await bench.come_back()
    yield bench
    await bench.leave()


@asynccontextmanager
async def publish_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    server, settings = _nats(request)
    async with connected(server, settings, "c12", reconnect_time_wait=0.05, max_reconnect_attempts=-1) as client:
        bench = NatsBench(server, settings, "c12")
        puller = asyncio.create_task(bench.pull(client, "SM_SYNC_c12"))
        yield bench
        puller.cancel()
        await asyncio.gather(puller, return_exceptions=True)


@asynccontextmanager
async def request_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    server, settings = _nats(request)
    async with connected(server, settings, "c28", reconnect_time_wait=0.05, max_reconnect_attempts=-1) as client:
        bench = NatsBench(server, settings, "c28")
        await client.subscribe("sync.c28.*", cb=bench.respond)
        await client.flush()
        yield bench


def _nats(request: pytest.FixtureRequest) -> tuple[NatsServer, Settings]:
    server: NatsServer = request.getfixturevalue("fresh_nats")
    settings: Settings = request.getfixturevalue("orbit_settings")
    return server, settings.model_copy(update={"nats": settings.nats.model_copy(update={"url": server.url})})


MakeBench = Callable[[pytest.FixtureRequest], Any]
MEMORY = pytest.param(memory_bench, id="memory")
HTTP = pytest.param(http_bench, id="http")
PUBLISH = pytest.param(publish_bench, id="nats-publish", marks=pytest.mark.connected)
REQUEST = pytest.param(request_bench, id="nats-request", marks=pytest.mark.connected)
every_sink = pytest.mark.parametrize("make", [MEMORY, HTTP, PUBLISH, REQUEST])
#: With a stream in between the component has no say in the receipt: it may leave the update in the stream.
answering_sink = pytest.mark.parametrize("make", [MEMORY, HTTP, REQUEST])


@asynccontextmanager
async def opened(make: MakeBench, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with make(request) as bench:
        try:
            yield bench
        finally:
            await bench.sink.aclose()


@every_sink
async def test_delivered_whole(make: MakeBench, request: pytest.FixtureRequest) -> None:
    """The component gets key, attributes and data as they are, whatever characters they hold."""
    async with opened(make, request) as bench:
        update = delivery(subject='naïve "50 %" ☸', smkey="chart/argo-cd@1/c")
        await bench.sink.deliver(update)
        await bench.wait_got(1)
        key, attributes, data = bench.got[0]
        assert (key, data) == ("chart/argo-cd@1/c", update.data)
        assert {name: attributes[name] for name in update.attributes} == update.attributes


@every_sink
async def test_concurrent(make: MakeBench, request: pytest.FixtureRequest) -> None:
    """Deliveries of different artifacts may run at the same time, from the first one on."""
    async with opened(make, request) as bench:
        updates = [delivery(f"chart/a{n}", smkey=f"chart/a{n}@1/c") for n in range(20)]
        await asyncio.gather(*map(bench.sink.deliver, updates))
        await bench.wait_got(20)
        assert sorted(key for key, _, _ in bench.got) == sorted(update.key for update in updates)


@every_sink
async def test_in_order(make: MakeBench, request: pytest.FixtureRequest) -> None:
    """Deliveries made one after the other arrive in that order."""
    async with opened(make, request) as bench:
        keys = [f"chart/argo-cd@{n}/c" for n in range(1, 11)]
        for generation, key in enumerate(keys, start=1):
            await bench.sink.deliver(delivery(generation=generation, smkey=key))
        await bench.wait_got(10)
        assert [key for key, _, _ in bench.got] == keys


@answering_sink
async def test_retry(make: MakeBench, request: pytest.FixtureRequest) -> None:
    """A component that is busy with this update raises Retriable with its own wish, and not Away; the next attempt may succeed."""
    async with opened(make, request) as bench:
        bench.script = ["retry"]
        update = delivery(smkey="chart/argo-cd@1/c")
        with pytest.raises(Retriable, match="busy") as caught:
            await bench.sink.deliver(update)
        assert (type(caught.value), caught.value.retry_after_s) == (Retriable, 7)
        await bench.sink.deliver(update)
        await bench.wait_got(1)


@answering_sink
async def test_reject(make: MakeBench, request: pytest.FixtureRequest) -> None:
    """A permanent answer raises Rejected with the component's words."""
    async with opened(make, request) as bench:
        bench.script = ["reject"]
        with pytest.raises(Rejected, match="never"):
            await bench.sink.deliver(delivery(smkey="chart/argo-cd@1/c"))
        assert bench.got == []


@every_sink
async def test_away_and_back(make: MakeBench, request: pytest.FixtureRequest) -> None:
    """While the component cannot be reached deliveries raise Away, and succeed when it is back, with the same sink."""
    async with opened(make, request) as bench:
        await bench.sink.deliver(delivery("chart/a", smkey="chart/a@1/c"))
        await bench.wait_got(1)
        await bench.leave()
        with pytest.raises(Away):
            await bench.sink.deliver(delivery("chart/b", smkey="chart/b@1/c"))
        await bench.come_back()
        await _deliver_until_taken(bench, delivery("chart/b", smkey="chart/b@1/c"))
        await bench.wait_got(2)
        assert {key for key, _, _ in bench.got} == {"chart/a@1/c", "chart/b@1/c"}


@every_sink
async def test_never_used(make: MakeBench, request: pytest.FixtureRequest) -> None:
    """A sink that never delivered can be closed, twice."""
    async with opened(make, request) as bench:
        await bench.sink.aclose()


async def _deliver_until_taken(bench: Bench, update: Delivery) -> None:
    for _ in range(200):
        try:
            await bench.sink.deliver(update)
        except Away:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("the component is back and still counts as away")
