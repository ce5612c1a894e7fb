"""The bridge: a filled JetStream stream (file storage) to Kafka, everything on, beside raw pulls that throw the messages away.

`syncmaster bridge` is measured from outside: each message is one record of [events], so the topic's end says how far it is. Between runs
its checkpoint is deleted and it begins at the first message again, into a new topic.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import product
from benchmarks.log import Log
from benchmarks.measure import Measurement, measure, peak_rss_bytes
from benchmarks.nats import BenchNats, at, delete_streams, fill, make_stream, with_secrets
from benchmarks.progress import Progress
from benchmarks.results import Row, row
from benchmarks.workload import PRINCIPAL, Workload, body
from gateway.local.process import Child
from streams.nats_streams import CHECKPOINTS, LEASES, stream_name
from streams.topics import Topics

PARTITIONS = 4
_AT = re.compile(r"^at (\d+) ([0-9.]+) ([0-9.]+)$", re.MULTILINE)
_TIMEOUT_S = 60


async def bridge(log: Log, directory: Path, progress: Progress, *, messages: int, repetitions: int = 1) -> list[Row]:
    content = with_secrets(product.configuration(log.bootstrap, "bridge", PARTITIONS, directory / "data"), directory)
    server = BenchNats(directory / "nats", product.settings_of(content), sync="2m")
    server.start()
    try:
        content = at(content, server)
        with progress.task(f"publishing {messages:,} messages", messages):
            await make_stream(product.settings_of(content))
            await fill(product.settings_of(content), (body(*event) for event in Workload(messages, 2000).numbered()))
        server.stop()
        server.sync = "always"
        server.start()
        runs: dict[str, list[Measurement]] = {"syncmaster": [], "raw_pull": [], "raw_pull_own_reader": []}
        for number in range(repetitions):  # in turn, so that what disturbs one disturbs all
            runs["syncmaster"].append(await _ours(log, content, directory / f"bridge-{number}", messages, progress))
            runs["raw_pull"].append(await _raw(content, directory, messages, "nats-py"))
            runs["raw_pull_own_reader"].append(await _raw(content, directory, messages, "own"))
    finally:
        server.kill9()
    rows = [row("bridge", engine, measured) for engine, measured in runs.items()]
    for each in rows:
        progress.row(each)
    return rows


async def _ours(log: Log, content: dict[str, Any], directory: Path, messages: int, progress: Progress) -> Measurement:
    await delete_streams(product.settings_of(content), [f"KV_{CHECKPOINTS}", f"KV_{LEASES}"])
    content = {**content, "kafka": {**content["kafka"], "topic_prefix": directory.name}}
    settings = product.settings_of(content)
    events = Topics(settings.kafka.topic_prefix).events
    child = product.command("bridge", content, directory)
    there = False

    async def appended() -> int:
        nonlocal there
        there = there or events in await log.topics()
        return sum(await log.ends(events, PARTITIONS)) if there else 0

    async def done() -> bool:
        return True

    child.start()
    try:
        with progress.task("syncmaster bridge", messages) as advance:
            return await measure(child, events=messages, progress=appended, done=done, on_progress=advance)
    finally:
        child.stop()


async def _raw(content: dict[str, Any], directory: Path, messages: int, kind: str) -> Measurement:
    nats = product.settings_of(content).nats
    told = [nats.url, nats.bridge_user, nats.bridge_password.file, stream_name(PRINCIPAL), messages, kind]  # type: ignore[union-attr]
    child = Child(f"raw-pull-{kind}", [sys.executable, "-m", "benchmarks.peers.raw_pull", *map(str, told)], directory)
    child.start()
    try:
        deadline = time.monotonic() + _TIMEOUT_S
        while len(said := _AT.findall(child.output())) < 2:
            if not child.running or time.monotonic() > deadline:
                raise RuntimeError(f"{child.name} did not end; its log {child.log} ends with:\n{child.tail()}")
            await asyncio.sleep(0.1)
        peak = peak_rss_bytes(psutil.Process(child.pid))
    finally:
        child.kill9()
    (first, first_cpu, first_at), (last, last_cpu, last_at) = (tuple(map(float, line)) for line in said)
    return Measurement(int(last - first), last_at - first_at, last_cpu - first_cpu, peak, [])
