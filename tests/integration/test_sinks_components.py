"""The example components as processes of their own, brought in step by the real sinks."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agents.sinks.base import Delivery, Sink
from agents.sinks.factory import make_sink
from gateway.local.nats_server import NatsServer
from gateway.local.ports import choose_port
from gateway.local.secrets import Secrets
from streams.errors import Away, Rejected
from streams.settings import Settings
from tests.deliveries import delivery


class Example:
    """One component's process. Starting it again goes on with what it kept."""

    def __init__(self, name: str, directory: Path, *options: str) -> None:
        self.port = choose_port(None)
        module = f"gateway.local.components.{name.replace('-', '_')}"
        self._command = [sys.executable, "-m", module, "--port", str(self.port), "--data", str(directory), "--faults", *options]
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._process = process = await asyncio.create_subprocess_exec(*self._command, stdout=PIPE)
        assert process.stdout is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        assert ready == {"ready": True, "port": self.port}

    async def kill9(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        return await asyncio.wait_for(self._process.wait(), 5)

    async def held(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/v1/held") as response:
            answer: dict[str, Any] = await response.json()
            return answer

    async def wait_received(self, count: int) -> dict[str, Any]:
        for _ in range(500):
            held = await self.held()
            if held["received"] >= count:
                return held
            await asyncio.sleep(0.02)
        raise AssertionError(f"{count} updates expected, it has {await self.held()}")

    async def fault(self, mode: str) -> int:
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/v1/fault", json={"mode": mode}) as response:
            return response.status


@asynccontextmanager
async def example(name: str, directory: Path, *options: str) -> AsyncIterator[Example]:
    component = Example(name, directory / name, *options)
    await component.start()
    try:
        yield component
    finally:
        await component.stop()


@asynccontextmanager
async def sink_of(name: str, settings: Settings) -> AsyncIterator[Sink]:
    sink = make_sink(name, settings.components[name], settings)
    assert sink is not None
    try:
        yield sink
    finally:
        await sink.aclose()


def update(artifact: str, generation: int, component: str = "c") -> Delivery:
    key, version = f"{artifact}@{generation}/{component}", f"{generation}.0.0"
    return delivery(
        artifact,
        generation,
        component,
        smkey=key,
        smartifact=artifact,
        smversion=version,
        smgeneration=str(generation),
        smdigest="d",
    )


def http_settings(component: Example, **sink: Any) -> Settings:
    sink = {"type": "http", "url": f"{component.url}/events", "timeout_s": 3} | sink
    return Settings.model_validate({"cluster": "test", "components": {"c": {"sink": sink}}})


class TestWebhook:
    async def test_keeps_every_version(self, tmp_path: Path) -> None:
        """The chart store keeps each version in order, a repeated one once, and has them all after kill -9."""
        async with example("c20-chart-store", tmp_path) as store, sink_of("c", http_settings(store)) as sink:
            for generation in (1, 2, 2, 3):
                await sink.deliver(update("chart/a", generation))
            await store.kill9()
            with pytest.raises(Away):
                await sink.deliver(update("chart/a", 4))
            await store.start()
            await sink.deliver(update("chart/a", 4))
            assert await store.held() == {
                "component": "c20-chart-store",
                "held": {"chart/a": {"version": "4.0.0", "digest": "d", "generation": 4}},
                "received": 4,
                "duplicates": 1,
                "late": 0,
                "versions": {"chart/a": ["1.0.0", "2.0.0", "3.0.0", "4.0.0"]},
            }

    async def test_late_update(self, tmp_path: Path) -> None:
        """An older generation that comes late is kept, is counted as late, and does not become the newest."""
        async with example("c8-portal", tmp_path) as portal, sink_of("c", http_settings(portal)) as sink:
            for generation in (2, 1):
                await sink.deliver(update("chart/a", generation))
            held = await portal.held()
            assert (held["held"]["chart/a"]["generation"], held["late"], held["received"]) == (2, 1, 2)

    async def test_bearer(self, tmp_path: Path) -> None:
        """With a token file, only deliveries that bring the token are taken."""
        token = tmp_path / "token"
        token.write_text("secret\n")
        async with example("c8-portal", tmp_path, "--token-file", str(token)) as portal:
            async with sink_of("c", http_settings(portal)) as stranger:
                with pytest.raises(Away, match="401"):
                    await stranger.deliver(update("chart/a", 1))
            async with sink_of("c", http_settings(portal, bearer={"file": str(token)})) as sink:
                await sink.deliver(update("chart/a", 1))
            assert (await portal.held())["received"] == 1

    async def test_faults(self, tmp_path: Path) -> None:
        """On demand it is down or rejects, and is well again."""
        async with example("c8-portal", tmp_path) as portal, sink_of("c", http_settings(portal)) as sink:
            assert await portal.fault("down") == 200
            with pytest.raises(Away, match="is down"):
                await sink.deliver(update("chart/a", 1))
            await portal.fault("reject")
            with pytest.raises(Rejected, match="rejects"):
                await sink.deliver(update("chart/a", 1))
            assert await portal.fault("nonsense") == 400
            await portal.fault("ok")
            await sink.deliver(update("chart/a", 1))

    async def test_not_an_update(self, tmp_path: Path) -> None:
        """What is no update of SyncMaster is refused for good, and nothing of it is kept."""
        async with example("c8-portal", tmp_path) as portal, sink_of("c", http_settings(portal)) as sink:
            with pytest.raises(Rejected, match="smkey"):
                await sink.deliver(delivery())
            assert (await portal.held())["received"] == 0

    async def test_ends_in_order(self, tmp_path: Path) -> None:
        """SIGTERM ends it within 5 s and with success."""
        async with example("c8-portal", tmp_path) as portal:
            assert await portal.stop() == 0


@pytest.fixture
def nats_settings(tmp_path: Path) -> Settings:
    secrets = Secrets(tmp_path / "secrets")
    names = {"c12-manifestor": "publish", "c28-kustomize": "request"}
    return Settings.model_validate(
        {
            "cluster": "test",
            "nats": {f"{who}_password": secrets.ref(f"{who}.nats") for who in ("bridge", "gateway", "worker")},
            "principals": {name: {"nats_password": secrets.ref(f"{name}.nats")} for name in names},
            "components": {
                name: {"sink": {"type": "nats", "mode": mode, "subject": f"sync.{name}.{{kind}}", "timeout_s": 2}}
                for name, mode in names.items()
            },
        }
    )


@pytest.fixture
def server(tmp_path: Path, nats_settings: Settings) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats", nats_settings)
    server.start()
    yield server
    server.kill9()


@asynccontextmanager
async def nats_scene(name: str, directory: Path, server: NatsServer, settings: Settings) -> AsyncIterator[tuple[Example, Sink]]:
    reached = settings.model_copy(update={"nats": settings.nats.model_copy(update={"url": server.url})})
    password = settings.principals[name].nats_password
    assert password is not None
    options = ("--nats", server.url, "--user", name, "--password-file", str(password.file))
    async with example(name, directory, *options) as component, sink_of(name, reached) as sink:
        yield component, sink


@pytest.mark.connected
class TestOverNats:
    async def test_stream_outlives_everybody(self, tmp_path: Path, server: NatsServer, nats_settings: Settings) -> None:
        """The Manifestor gets what was published while it was killed, and what comes after a restart of NATS."""
        async with nats_scene("c12-manifestor", tmp_path, server, nats_settings) as (manifestor, sink):
            await sink.deliver(update("chart/a", 1))
            await manifestor.wait_received(1)
            await manifestor.kill9()
            await sink.deliver(update("chart/a", 2))
            await manifestor.start()
            await manifestor.wait_received(2)
            await asyncio.to_thread(server.kill9)
            await asyncio.to_thread(server.start)
            await _deliver_until_taken(sink, update("chart/a", 3))
            held = await manifestor.wait_received(3)
            assert held["versions"] == {"chart/a": ["1.0.0", "2.0.0", "3.0.0"]}
            assert held["late"] == 0

    async def test_replies(self, tmp_path: Path, server: NatsServer, nats_settings: Settings) -> None:
        """Kustomize's reply is the receipt: it has the update, or says that it never will."""
        async with nats_scene("c28-kustomize", tmp_path, server, nats_settings) as (kustomize, sink):
            for generation in (1, 2):
                await sink.deliver(update("chart/a", generation))
            assert (await kustomize.held())["held"]["chart/a"] == {"version": "2.0.0", "digest": "d", "generation": 2}
            await kustomize.fault("reject")
            with pytest.raises(Rejected, match="rejects"):
                await sink.deliver(update("chart/a", 3))

    async def test_waits_for_its_server(self, tmp_path: Path, server: NatsServer) -> None:
        """A component that still waits for NATS can be stopped."""
        server.kill9()
        component = Example("c28-kustomize", tmp_path / "c28", "--nats", server.url)
        starting = asyncio.create_task(component.start())
        while not (tmp_path / "c28" / "held.sqlite").exists():
            await asyncio.sleep(0.02)
        await component.stop()
        with pytest.raises(json.JSONDecodeError):
            await starting


async def _deliver_until_taken(sink: Sink, delivery: Delivery) -> None:
    for _ in range(200):
        try:
            await sink.deliver(delivery)
        except Away:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("still away")
