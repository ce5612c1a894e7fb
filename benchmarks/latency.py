"""End to end: from the moment an event is due to be published over NATS to the moment the component has it. And latency against load.

Rows are named by how the component is reached; `door` is the acknowledgement of the publish itself, the first part of all others.

NATS (sync always), Kafka, bridge and worker are processes as in production; publisher and components are in this process, on one clock. The
moment that counts is when the event *was due*, not when a busy publisher came to send it, and it travels in the event's id.
Either one component gets every event, over HTTP or from the log (`http_alone`, `log_alone`): one receipt for each. Or three do, one per kind of
sink: `portal` over HTTP, `chef` by NATS request, `store` from the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from nats.aio.client import Client

from benchmarks import product
from benchmarks.components import COMPONENTS, DOOR, Arrivals, http_component, log_component, nats_component
from benchmarks.log import Log
from benchmarks.measure import Measurement, peak_rss_bytes, sample
from benchmarks.nats import BenchNats, at, client, with_secrets
from benchmarks.progress import Progress
from benchmarks.results import Row, row
from benchmarks.workload import PRINCIPAL, body
from gateway.local.process import Child
from streams.nats_door import request
from streams.settings import Settings

PARTITIONS = 4
STEADY_PER_S = 1000
LOADS_PER_S = (250, 500, 1000, 2000, 3000, 4000)
ONE, ONE_OF_THE_LOG = ("portal",), ("store",)
_KINDS = {"portal": "http", "chef": "nats", "store": "log", DOOR: DOOR}
_ARTIFACTS = 2000
_TICK_S = 0.002
_SETTLE_S = 20.0
#: Until the broker's compiler rests: with two cores it takes as much of them as the broker itself, and nobody runs a broker for a minute.
_WARM_S = 40.0
_IN_FLIGHT_MAX = 512


class Stack:
    """Everything between publisher and components, running; made by `running`."""

    def __init__(self, settings: Settings, publisher: Client, arrivals: Arrivals, worker: Child, bridge: Child) -> None:
        self.settings, self.publisher, self.arrivals, self.worker, self.bridge = settings, publisher, arrivals, worker, bridge
        self.components = [name for name in arrivals.latencies_s if name != DOOR]
        self._next = 0

    async def load(self, per_s: int, seconds: float, on_tick: Callable[[], None] = lambda: None) -> tuple[int, float]:
        """Publish at that rate for that long. Returns how many were acknowledged, and in what time."""
        slots, count, started_s = asyncio.Semaphore(_IN_FLIGHT_MAX), int(per_s * seconds), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for index in range(count):
                due_s = started_s + index / per_s
                if (ahead_s := due_s - time.perf_counter()) > 0:
                    on_tick()
                    await asyncio.sleep(max(ahead_s, _TICK_S))
                await slots.acquire()
                group.create_task(self._publish(due_s, slots))
        return count, time.perf_counter() - started_s

    async def _publish(self, due_s: float, slots: asyncio.Semaphore) -> None:
        number, self._next = self._next, self._next + 1
        count, artifact = divmod(number, _ARTIFACTS)
        payload = body(number, artifact, count + 1).replace(f"{number:016x}".encode(), f"{number}-{int(due_s * 1e9)}".encode())
        try:
            await request(self.publisher, f"sm.in.{PRINCIPAL}.bench", payload)
            self.arrivals.note(DOOR, f"{number}-{int(due_s * 1e9)}")
        finally:
            slots.release()

    async def settle(self, events: int, component: str) -> bool:
        """Wait until the component has so many events; False if it does not get them in 20 s."""
        deadline = time.monotonic() + _SETTLE_S
        while len(self.arrivals.latencies_s[component]) < events and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return len(self.arrivals.latencies_s[component]) >= events


async def latency(log: Log, directory: Path, progress: Progress, *, seconds: float = 20.0) -> tuple[list[Row], dict[str, float]]:
    """Rows at the steady rate; and p50 and p99 from publish to the one receipt of an event, over HTTP, in ms."""
    rows: list[Row] = []
    for components, warm_s in ((ONE, _WARM_S), (ONE_OF_THE_LOG, _WARM_S / 8)):
        async with running(log, directory / components[0], components) as stack:
            rows += await _steady(stack, STEADY_PER_S, seconds, progress, warm_s=warm_s)
    return rows, {"p50": rows[0]["p50_ms"], "p99": rows[0]["p99_ms"]}


async def latency_by_load(
    log: Log, directory: Path, progress: Progress, *, seconds: float = 8.0, loads: tuple[int, ...] = LOADS_PER_S
) -> list[Row]:
    """From idle up to where the stack does not keep up any more."""
    rows: list[Row] = []
    for components in (ONE, COMPONENTS):
        async with running(log, directory / f"load-{len(components)}", components) as stack:
            for per_s in loads:
                rows += await _steady(stack, per_s, seconds, progress, path="latency_by_load")
                if rows[-1]["events_per_s"] < 0.95 * per_s:
                    break
    return rows


async def _steady(
    stack: Stack, per_s: int, seconds: float, progress: Progress, path: str = "latency", *, warm_s: float = 3.0
) -> list[Row]:
    stack.arrivals.clear()
    warm, _ = await stack.load(per_s, warm_s if path == "latency" else min(warm_s, seconds / 2))
    for component in stack.components:
        await stack.settle(warm, component)
    stack.arrivals.clear()
    process = psutil.Process(stack.worker.pid)
    before = sample(process, 0)
    with progress.task(f"{per_s:,} events/s", int(per_s * seconds)) as advance:
        count, took_s = await stack.load(per_s, seconds, lambda: advance(len(stack.arrivals.latencies_s[stack.components[0]])))
        kept_up = [await stack.settle(count, component) for component in stack.components]
    after = sample(process, count)
    measured = Measurement(count, took_s, after.cpu_s - before.cpu_s, peak_rss_bytes(process), [])
    rows = []
    suffix = "_alone" if len(stack.components) == 1 else ""
    for component, complete in zip((*stack.components, DOOR), (*kept_up, True), strict=True):
        kind = _KINDS[component] + suffix
        percentiles: dict[str, Any] = {f"{name}_ms": value for name, value in stack.arrivals.percentiles_ms(component).items()}
        got = len(stack.arrivals.latencies_s[component])
        rows.append(row(path, kind, [measured], rate_per_s=per_s, delivered=got, complete=complete, **percentiles))
        progress.say(f"{per_s:>6,}/s  {kind:10} {percentiles}  {got:,} of {count:,}")
    return rows


@asynccontextmanager
async def running(log: Log, directory: Path, components: tuple[str, ...] = COMPONENTS) -> AsyncIterator[Stack]:
    arrivals = Arrivals(components)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(http_component("portal", arrivals))
        content = with_secrets(_configuration(log.bootstrap, directory, url, components), directory)
        server = BenchNats(directory / "nats", product.settings_of(content))
        server.start()
        stack.callback(server.kill9)
        content = at(content, server)
        settings = product.settings_of(content)
        bridge, worker = (product.command(name, content, directory / name) for name in ("bridge", "worker"))
        for child in (bridge, worker):
            child.start()
            stack.callback(child.stop)
        if "chef" in components:
            await stack.enter_async_context(nats_component("chef", settings, arrivals))
        if "store" in components:
            await stack.enter_async_context(log_component("store", settings, log, arrivals))
        publisher = await stack.enter_async_context(client(settings, PRINCIPAL))
        started = Stack(settings, publisher, arrivals, worker, bridge)
        await _wait_ready(started)
        yield started


def _configuration(bootstrap: str, directory: Path, url: str, components: tuple[str, ...]) -> dict[str, Any]:
    content = product.configuration(bootstrap, f"latency-{directory.name}", PARTITIONS, directory / "data")
    known: dict[str, Any] = {
        "portal": {"sink": {"type": "http", "url": url}, "in_flight_max": 64},
        "chef": {"sink": {"type": "nats", "mode": "request", "subject": "sync.chef.{kind}"}, "in_flight_max": 256},
        "store": {"sink": {"type": "log"}},
    }
    content["components"] = {name: known[name] for name in components}
    if "chef" in components:
        content["principals"]["chef"] = {}
    content["routes"] = [{"name": "charts", "match": {"artifacts": ["chart/*"]}, "to": list(components), "mode": "every"}]
    return content


async def _wait_ready(stack: Stack) -> None:
    """One event after the other until one has come all the way, and then a moment for what else was on its way."""
    deadline = time.monotonic() + 60
    while not all(stack.arrivals.latencies_s.values()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no event comes through; see {stack.worker.log} and {stack.bridge.log}")
        with contextlib.suppress(Exception):  # the stream is not there before the bridge
            await stack.load(10, 0.1)
        await asyncio.sleep(0.2)
    await asyncio.sleep(1)
