"""Recovery: changelogs into an empty RocksDB, by each engine's own recovery. The changelogs hold the same bytes for each.

A record is a version with its event, some 900 bytes, every key once: nothing can be left out. Each engine's process says when it begins
(its program is loaded, nothing is connected) and when its stores are complete, with its own CPU time; the harness starts it and reads that.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil
from aiokafka import AIOKafkaProducer

from benchmarks.environments import Missing, kafka_streams_command
from benchmarks.log import Log
from benchmarks.measure import Measurement, peak_rss_bytes
from benchmarks.progress import Progress
from benchmarks.results import Row, row
from benchmarks.workload import body, ingress, key, version
from gateway.local.process import Child
from streams.events import Action
from streams.partition import partition_of
from streams.topics import Topics
from tables.model import Version, version_key

PARTITIONS = 4
_TIMEOUT_S = 180
_SAYING = re.compile(r"(begin|recovered) ([0-9.]+) ([0-9.]+)$", re.MULTILINE)
_ARTIFACTS = 10_007


@dataclass(frozen=True)
class Recovering:
    """`speed`: records per second, about; `changelog`: where the engine looks for them, given its prefix."""

    name: str
    speed: int
    changelog: Callable[[str], str]
    command: Callable[[], list[Any]]
    arguments: tuple[str, ...] = ()
    key: Callable[[bytes], bytes] = bytes


def _python(module: str) -> Callable[[], list[Any]]:
    return lambda: [sys.executable, "-m", module]


ENGINES = (
    Recovering(
        "syncmaster", 100_000, lambda prefix: Topics(prefix).changelog("versions"), _python("benchmarks.recovery_process")
    ),
    Recovering(
        "stock_faust",
        5_000,
        lambda prefix: f"{prefix}-heads-changelog",
        _python("benchmarks.peers.stock_faust"),
        key=lambda key: msgspec.json.encode(key.decode()),  # its tables' keys are JSON, and it decodes them when it recovers
    ),
    Recovering(
        "kafka_streams_eos",
        100_000,
        lambda prefix: f"{prefix}-heads-changelog",
        lambda: [*kafka_streams_command()],
        ("exactly_once_v2", "1000"),
    ),
)


async def recovery(
    log: Log,
    directory: Path,
    progress: Progress,
    *,
    records: int,
    repetitions: int = 1,
    engines: Iterable[Recovering] = ENGINES,
    slow_run_s: float = 12,
) -> list[Row]:
    rows = []
    for engine in engines:
        count, prefix = int(min(records, engine.speed * slow_run_s)), f"recovery-{engine.name.replace('_', '-')}"
        try:
            command = engine.command()
        except Missing as reason:
            progress.skipped(engine.name, str(reason))
            continue
        await _fill(log, prefix, engine, count, progress)
        runs = []
        for number in range(repetitions):
            with progress.task(engine.name, count):
                runs.append(
                    await _recover(
                        log, engine, command, prefix, count=count, directory=directory / f"recovery-{engine.name}-{number}"
                    )
                )
        rows.append(row("recovery", engine.name, runs, given=count))
        progress.row(rows[-1])
    return rows


async def _recover(log: Log, engine: Recovering, command: list[Any], prefix: str, *, count: int, directory: Path) -> Measurement:
    shutil.rmtree(directory, ignore_errors=True)
    state = directory / "state"
    state.mkdir(parents=True)
    told = [log.bootstrap, f"{prefix}.events", prefix, PARTITIONS, state, *engine.arguments]
    child = Child(engine.name, [str(part) for part in (*command, *told)], directory)
    child.start()
    try:
        said = await _said(child)
        peak = peak_rss_bytes(psutil.Process(child.pid))
    finally:
        child.kill9()
    (begin_cpu, begin_at), (end_cpu, end_at) = said["begin"], said["recovered"]
    return Measurement(count, end_at - begin_at, end_cpu - begin_cpu, peak, [])


async def _said(child: Child) -> dict[str, tuple[float, float]]:
    """What the process wrote: `begin <cpu_s> <unix_s>` and `recovered <cpu_s> <unix_s>`."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        ended = not child.running  # asked before the look: what it wrote last must not be missed
        said = {word: (float(cpu), float(at)) for word, cpu, at in _SAYING.findall(child.output())}
        if "recovered" in said:
            return said
        if ended:
            break
        await asyncio.sleep(0.1)
    raise RuntimeError(
        f"{child.name} did not recover (exit code {child.exit_code}); its log {child.log} ends with:\n{child.tail()}"
    )


async def _fill(log: Log, prefix: str, engine: Recovering, count: int, progress: Progress) -> None:
    """The changelog, and beside it the empty topics without which an engine would not start."""
    changelog = engine.changelog(prefix)
    wanted = {f"{prefix}.{name}" for name in ("events", "portal", "store", "audit")} | {changelog, *Topics(prefix).changelogs}
    await log.create(wanted, PARTITIONS)
    producer = AIOKafkaProducer(
        bootstrap_servers=log.bootstrap, enable_idempotence=True, compression_type="lz4", max_batch_size=500_000
    )
    await producer.start()
    batches = [producer.create_batch() for _ in range(PARTITIONS)]
    try:
        with progress.task(f"writing {count:,} records", count):
            for number in range(count):
                partition, record = _record(number, engine.key)
                if batches[partition].append(timestamp=None, **record) is None:
                    await producer.send_batch(batches[partition], changelog, partition=partition)
                    batches[partition] = producer.create_batch()
                    batches[partition].append(timestamp=None, **record)
            for partition, batch in enumerate(batches):
                await producer.send_batch(batch, changelog, partition=partition)
            await producer.flush()
    finally:
        await producer.stop()


def _record(number: int, spell: Callable[[bytes], bytes]) -> tuple[int, dict[str, bytes]]:
    """Artifacts in the order of first appearance, versions of one far apart: keys come in no order that RocksDB could use."""
    count, artifact = divmod(number, _ARTIFACTS)
    name = key(artifact)
    value = Version(
        generation=count + 1,
        digest=f"sha256:{number:064x}",
        action=Action.PUBLISHED,
        ingress=ingress(number).decode(),
        headers={},
        body=msgspec.Raw(body(number, artifact, count + 1)),
        accepted_ms=1_795_000_000_000 + number,
        taken_hashes=f"{number:016x} ",
    )
    return partition_of(name.encode(), PARTITIONS), {"key": spell(version_key(name, version(count + 1))), "value": _encode(value)}


_encode = msgspec.json.Encoder().encode
