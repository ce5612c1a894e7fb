"""The door: acknowledged publishes per second with 1 to 256 publishers, single events and batches, with and without a sync to disk first.

Each publisher has a connection of its own and waits for each acknowledgement, as a component's author would. CPU time is the server's.
All publishers are in this process, which can be what limits them: 256 of them and one server share the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
from nats.aio.client import Client

from benchmarks import product
from benchmarks.measure import Measurement, peak_rss_bytes, sample
from benchmarks.nats import BenchNats, at, client, delete_streams, make_stream, with_secrets
from benchmarks.progress import Progress
from benchmarks.results import Row, row
from benchmarks.workload import PRINCIPAL, body
from streams.nats_door import request
from streams.nats_streams import stream_name
from streams.settings import Settings

PUBLISHERS = (1, 4, 16, 64, 256)
BATCH_EVENTS = 50


async def door(
    directory: Path, progress: Progress, *, seconds: float = 2.0, publishers: tuple[int, ...] = PUBLISHERS
) -> list[Row]:
    """Rows named `<sync>_<single|batch>_<publishers>`; `events` counts events, also in batches."""
    rows = []
    for sync in ("always", "2m"):
        content = with_secrets(product.configuration("127.0.0.1:1", "door", 1, directory / "data"), directory)
        server = BenchNats(directory / f"nats-{sync}", product.settings_of(content), sync=sync)
        server.start()
        try:
            settings = product.settings_of(at(content, server))
            for events, count in itertools.product((1, BATCH_EVENTS), publishers):
                await delete_streams(settings, [stream_name(PRINCIPAL)])  # a full one refuses
                await make_stream(settings)
                measurement = await _publish(settings, server, count, events, seconds)
                name = f"{'always' if sync == 'always' else 'default'}_{'single' if events == 1 else 'batch'}_{count}"
                rows.append(row("door", name, [measurement], publishes_per_s=round(measurement.events_per_s / events, 1)))
                progress.row(rows[-1])
        finally:
            server.kill9()
    return rows


async def _publish(settings: Settings, server: BenchNats, publishers: int, events: int, seconds: float) -> Measurement:
    process = psutil.Process(server.child.pid)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(settings, PRINCIPAL)) for _ in range(publishers)]
        payload, headers = _payload(events)
        before = sample(process, 0)
        until = time.monotonic() + seconds
        counts = await asyncio.gather(*(_one(each, payload, headers, until) for each in clients))
        after = sample(process, sum(counts) * events)
    return Measurement(after.events, after.at_s - before.at_s, after.cpu_s - before.cpu_s, peak_rss_bytes(process), [])


async def _one(publisher: Client, payload: bytes, headers: dict[str, str] | None, until: float) -> int:
    count = 0
    while time.monotonic() < until:
        await request(publisher, f"sm.in.{PRINCIPAL}.bench", payload, headers)
        count += 1
    return count


def _payload(events: int) -> tuple[bytes, dict[str, str] | None]:
    if events == 1:
        return body(0, 0, 1), None
    return b"[" + b",".join(body(number, number, 1) for number in range(events)) + b"]", {
        "content-type": "application/cloudevents-batch+json"
    }
