"""Measures one process from outside: CPU time of it alone (user and system, all its threads), peak RSS, and progress on the clock.

The process is not asked for anything. How far it is shows in what it has committed: the caller gives `progress`, a count that anybody
can read from the log, and `done`. CPU time is the kernel's (`/proc/<pid>/stat`, through psutil); the broker's is not in it.

The first `warm_part` of the events is warm-up for every engine alike: start-up, joining the group, JIT compilation, cold caches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from gateway.local.process import Child

WARM_PART = 0.2
_EVERY_S = 0.05
#: What the kernel counts CPU time in: nothing shorter is known.
_CPU_TICK_S = 0.01
_STALLED_AFTER_S = 90.0


class Sample(NamedTuple):
    at_s: float
    events: int
    cpu_s: float
    rss_bytes: int


class Measurement(NamedTuple):
    """From the first sample behind the warm-up to the end; `samples` are of the whole run."""

    events: int
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    samples: list[Sample]

    @property
    def events_per_s(self) -> float:
        return self.events / max(self.wall_s, _CPU_TICK_S)

    @property
    def events_per_cpu_s(self) -> float:
        return self.events / max(self.cpu_s, _CPU_TICK_S)


async def measure(
    child: Child,
    *,
    events: int,
    progress: Callable[[], Awaitable[int]],
    done: Callable[[], Awaitable[bool]],
    on_progress: Callable[[int], None] = lambda _: None,
    warm_part: float = WARM_PART,
) -> Measurement:
    """Watch the running `child` until it has done all `events`. Raises RuntimeError if it ends, or stands still for 90 s."""
    process, samples = psutil.Process(child.pid), list[Sample]()
    while child.running:
        count = min(events, await progress())
        samples.append(sample(process, count))
        on_progress(count)
        if count == events and await done():
            samples.append(sample(process, events))
            return reduce(samples, events, warm_part, peak_rss_bytes(process))
        if _still_s(samples) > _STALLED_AFTER_S:
            raise RuntimeError(f"{child.name} stands still at {count} events; its log {child.log} ends with:\n{child.tail()}")
        await asyncio.sleep(_EVERY_S)
    raise RuntimeError(f"{child.name} ended with exit code {child.exit_code}; its log {child.log} ends with:\n{child.tail()}")


def reduce(samples: list[Sample], events: int, warm_part: float, peak_bytes: int) -> Measurement:
    start = next(sample for sample in samples if sample.events >= warm_part * events)
    end = samples[-1]
    if start.events >= events:  # too quick for the clock: all of it, start-up included
        start = samples[0]
    return Measurement(events - start.events, end.at_s - start.at_s, end.cpu_s - start.cpu_s, peak_bytes, samples)


def sample(process: psutil.Process, events: int) -> Sample:
    with process.oneshot():
        cpu = process.cpu_times()
        return Sample(time.monotonic(), events, cpu.user + cpu.system, process.memory_info().rss)


def peak_rss_bytes(process: psutil.Process) -> int:
    """The kernel's high-water mark where it keeps one, else what is resident now."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


def _still_s(samples: list[Sample]) -> float:
    """For how long the count has not moved."""
    latest = samples[-1]
    since = next((earlier for earlier in reversed(samples) if earlier.events < latest.events), samples[0])
    return latest.at_s - since.at_s
