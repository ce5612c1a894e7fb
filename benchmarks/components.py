"""Components for the end-to-end benchmarks, one per kind of sink, in the harness's own process: they note when they have which event."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import quantiles
from typing import cast

from aiokafka import AIOKafkaConsumer
from nats.aio.msg import Msg

from benchmarks.log import Log
from benchmarks.nats import client
from gateway.local.ports import LOOPBACK
from streams.settings import Settings
from streams.topics import Topics

COMPONENTS = ("portal", "chef", "store")
#: Not a component: JetStream, which has the event on disk when it acknowledges.
DOOR = "door"


class Arrivals:
    """When each component had which event. An event is known by its id, `<number>-<due_ns>`."""

    def __init__(self, components: tuple[str, ...] = COMPONENTS) -> None:
        self.latencies_s: dict[str, list[float]] = {name: [] for name in (*components, DOOR)}

    def note(self, component: str, ident: str) -> None:
        self.latencies_s[component].append((time.perf_counter_ns() - int(ident.rpartition("-")[2])) / 1e9)

    def clear(self) -> None:
        for latencies in self.latencies_s.values():
            latencies.clear()

    def percentiles_ms(self, component: str) -> dict[str, float]:
        cuts = quantiles(self.latencies_s[component], n=1000, method="inclusive")
        return {"p50": round(cuts[499] * 1000, 2), "p99": round(cuts[989] * 1000, 2), "p999": round(cuts[998] * 1000, 2)}


class _Component(asyncio.Protocol):
    """As much of HTTP/1.1 as a component needs that answers 204 to everything: a tenth of what a framework costs the machine."""

    def __init__(self, name: str, arrivals: Arrivals) -> None:
        self._name, self._arrivals, self._held = name, arrivals, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower() + b"\r\n"
            end += 4 + int(_header(head, b"content-length"))
            if len(self._held) < end:
                return
            self._held = self._held[end:]
            self._arrivals.note(self._name, _header(head, b"ce-id").decode())
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


def _header(head: bytes, name: bytes) -> bytes:
    begin = head.index(b"\r\n" + name + b":") + len(name) + 3
    return head[begin : head.index(b"\r\n", begin)].strip()


@asynccontextmanager
async def http_component(name: str, arrivals: Arrivals) -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(lambda: _Component(name, arrivals), LOOPBACK, 0)
    try:
        yield f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/events"
    finally:
        server.close()


@asynccontextmanager
async def nats_component(name: str, settings: Settings, arrivals: Arrivals) -> AsyncIterator[None]:
    async def take(message: Msg) -> None:
        arrivals.note(name, (message.headers or {})["ce-id"])
        await message.respond(b'{"status":"ok"}')

    async with client(settings, name) as component:
        await component.subscribe(f"sync.{name}.*", cb=take)
        yield


@asynccontextmanager
async def log_component(name: str, settings: Settings, log: Log, arrivals: Arrivals) -> AsyncIterator[None]:
    topic = Topics(settings.kafka.topic_prefix).sync(name)
    deadline = time.monotonic() + 60
    while topic not in await log.topics():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the topic {topic} was not made")
        await asyncio.sleep(0.2)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=settings.kafka.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )

    async def take() -> None:
        async for record in consumer:
            arrivals.note(name, json.loads(record.value)["id"])

    await consumer.start()
    task = asyncio.create_task(take())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()
