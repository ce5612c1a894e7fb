"""What an event costs SyncMaster as things grow: artifacts, an artifact's age, partitions, time. Minutes each; `make bench-long`.

*Artifacts*: two series. `drawn` is the hot path's workload: as artifacts become more, a chunk repeats fewer of them, so fewer changes coalesce
into one changelog record, and RocksDB holds more. `rounds` deals the artifacts in turn and keeps chunks below their number, so nothing
ever coalesces: what grows there is RocksDB's part alone, on top of smaller transactions, which cost the same at every number of artifacts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks.engines import Engine, Input, Ours
from benchmarks.hot_path import measured, written
from benchmarks.latency import ONE, running
from benchmarks.log import Log
from benchmarks.measure import WARM_PART, Measurement, peak_rss_bytes, sample
from benchmarks.progress import Progress
from benchmarks.results import Row, row
from benchmarks.workload import Workload

ARTIFACTS = (1_000, 10_000, 100_000, 1_000_000)
PARTITION_COUNTS = (1, 4, 16, 64)
#: In `rounds`, a chunk is at most this part of the artifacts of its partition.
_NO_REPEAT_RECORDS_MAX = 200


async def by_artifacts(
    log: Log, directory: Path, progress: Progress, *, events: int, artifacts: Iterable[int] = ARTIFACTS
) -> list[Row]:
    rows = []
    for count in artifacts:
        for series in ("drawn", "rounds"):
            workload = Workload(max(events, 2 * count), count, rounds=series == "rounds")
            changes = {"chunk_records_max": _NO_REPEAT_RECORDS_MAX} if series == "rounds" else {}
            source = await written(log, f"artifacts-{series}-{count}", workload, progress)
            # The first appearance of each artifact is warm-up: what is measured is a store that has them all.
            warm = max(0.2, count / workload.events)
            measurement = await _run(log, source, directory, progress, warm_part=warm, worker=changes)
            rows.append(row("sweep_artifacts", f"{series}_{count}", [measurement], artifacts=count, series=series))
            progress.row(rows[-1])
            await log.delete([source.topic])
    return rows


async def by_age(log: Log, directory: Path, progress: Progress, *, versions: int = 10_000, artifacts: int = 40) -> list[Row]:
    """The same few artifacts get version after version: the cost per event in ten parts of one run."""
    workload = Workload(versions * artifacts, artifacts)
    source = await written(log, "age", workload, progress)
    whole = await _run(log, source, directory, progress)
    rows = []
    for part, measurement in enumerate(_parts(whole, workload.events, 10)):
        rows.append(row("sweep_age", f"part_{part}", [measurement], versions_before=part * versions // 10))
        progress.row(rows[-1])
    return rows


async def by_partitions(
    log: Log, directory: Path, progress: Progress, *, events: int, counts: Iterable[int] = PARTITION_COUNTS
) -> list[Row]:
    rows = []
    for count in counts:
        source = await written(log, f"partitions-{count}", Workload(events, 2000), progress, partitions=count)
        measurement = await _run(log, source, directory, progress)
        rows.append(row("sweep_partitions", f"partitions_{count}", [measurement], partitions=count))
        progress.row(rows[-1])
        await log.delete([source.topic])
    return rows


async def over_time(log: Log, directory: Path, progress: Progress, *, minutes: float = 10, per_s: int = 1000) -> list[Row]:
    """End to end at a steady load, to one component over HTTP: memory and latency of each minute."""
    rows = []
    async with running(log, directory / "over-time", ONE) as stack:
        process = psutil.Process(stack.worker.pid)
        seconds = 60.0 if minutes >= 1 else minutes * 60
        for minute in range(max(1, int(minutes))):
            stack.arrivals.clear()
            before = sample(process, 0)
            count, took_s = await stack.load(per_s, seconds)
            for component in stack.components:
                await stack.settle(count, component)
            after = sample(process, count)
            measured = Measurement(count, took_s, after.cpu_s - before.cpu_s, peak_rss_bytes(process), [])
            latencies: dict[str, Any] = {f"{name}_ms": value for name, value in stack.arrivals.percentiles_ms("portal").items()}
            rows.append(
                row("sweep_time", f"minute_{minute}", [measured], rate_per_s=per_s, rss_bytes=after.rss_bytes, **latencies)
            )
            progress.row(rows[-1])
    return rows


async def _run(
    log: Log, source: Input, directory: Path, progress: Progress, *, warm_part: float = WARM_PART, **changes: object
) -> Measurement:
    ours = Engine(source.prefix, 0, lambda source, directory, number: Ours(source, directory, number, **changes))
    measurement, _ = await measured(log, ours, source, directory / source.prefix, progress, warm_part=warm_part)
    return measurement


def _parts(whole: Measurement, events: int, count: int) -> Iterator[Measurement]:
    """The run cut into about equal numbers of events: at the first sample behind each boundary."""
    cuts = [next(each for each in whole.samples if each.events * count >= part * events) for part in range(count + 1)]
    for first, last in pairwise(cuts):
        if first.events < last.events:
            yield Measurement(
                last.events - first.events, last.at_s - first.at_s, last.cpu_s - first.cpu_s, whole.peak_rss_bytes, []
            )
