"""The hot path: every engine does the same work on the same input, one after the other, each from nothing.

Fast engines get the whole input; slow ones its beginning, as a topic of its own, so that a run ends. What an engine sent to the
component `portal` is read afterwards: it must be what the workload makes of that input, or the run fails. `result_hash` is over the part
of it that all engines had, so it is one value in all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from benchmarks.engines import ENGINES, Engine, Input, Run
from benchmarks.environments import Missing
from benchmarks.log import Log
from benchmarks.measure import WARM_PART, Measurement, measure
from benchmarks.progress import Progress
from benchmarks.results import Row, row
from benchmarks.workload import Fingerprint, Workload, write

PARTITIONS = 4
#: No engine runs much longer than this, by its `speed`.
_SLOW_RUN_S = 25


class WrongResult(Exception):
    """An engine did not do the work: what it sent is not what the input makes."""


class Update(msgspec.Struct):
    artifact: str
    generation: int
    version: str


_decode = msgspec.json.Decoder(Update).decode


class Expected:
    """What a correct engine sends for a workload, and the part of it that the shortest input of all has."""

    def __init__(self, workload: Workload, shortest: int) -> None:
        self.fingerprint = workload.fingerprint()
        self.shared: dict[str, int] = {}
        for artifact, count in workload._replace(events=shortest).last_counts():
            self.shared[artifact] = count

    async def check(self, log: Log, topic: str, partitions: int) -> str:
        """The hash of the shared part. Raises WrongResult."""
        everything, shared = Fingerprint(), Fingerprint()
        async for records in log.records(topic, partitions):
            for record in records:
                update = _decode(record.value)
                everything.add(update.artifact, update.generation, update.version)
                if update.generation <= self.shared.get(update.artifact, 0):
                    shared.add(update.artifact, update.generation, update.version)
        if everything.hex() != self.fingerprint:
            raise WrongResult(f"{topic}: {everything.count} updates with hash {everything.hex()}, expected {self.fingerprint}")
        return shared.hex()


async def hot_path(
    log: Log,
    directory: Path,
    progress: Progress,
    *,
    workload: Workload,
    path: str = "hot_path",
    repetitions: int = 1,
    engines: Iterable[Engine] = ENGINES,
    slow_run_s: float = _SLOW_RUN_S,
) -> list[Row]:
    """A row per engine that can run here."""
    engines = list(engines)
    sizes = {engine.name: int(min(workload.events, engine.speed * slow_run_s)) for engine in engines}
    inputs = {size: await written(log, path, workload._replace(events=size), progress) for size in sorted(set(sizes.values()))}
    expected = {size: Expected(workload._replace(events=size), min(inputs)) for size in inputs}
    rows = []
    for engine in engines:
        source = inputs[sizes[engine.name]]
        try:
            runs, result = [], ""
            for number in range(repetitions):
                measurement, run = await measured(log, engine, source, directory, progress, number=number)
                runs.append(measurement)
                if engine.does_the_work:
                    result = await expected[source.events].check(log, run.updates, source.partitions)
        except Missing as reason:
            progress.skipped(engine.name, str(reason))
            continue
        rows.append(row(path, engine.name, runs, result_hash=result, artifacts=workload.artifacts, given=source.events))
        progress.row(rows[-1])
    return rows


async def measured(
    log: Log, engine: Engine, source: Input, directory: Path, progress: Progress, *, number: int = 0, warm_part: float = WARM_PART
) -> tuple[Measurement, Run]:
    """One run of one engine, from nothing."""
    run = engine.start(source, directory, number)
    await run.prepare(log)
    started = False

    async def audited() -> int:
        nonlocal started
        started = started or run.audit in await log.topics()
        return sum(await log.ends(run.audit, source.partitions)) if started else 0

    run.child.start()
    try:
        with progress.task(engine.name, source.events) as advance:
            result = await measure(
                run.child,
                events=source.events,
                progress=audited,
                done=lambda: run.done(log),
                on_progress=advance,
                warm_part=warm_part,
            )
    finally:
        run.child.kill9()  # it has nothing left to do that anybody would read
    return result, run


async def written(log: Log, path: str, workload: Workload, progress: Progress, *, partitions: int = PARTITIONS) -> Input:
    """The workload in a topic of its own."""
    source = Input(f"{path.replace('_', '-')}-{workload.events}", partitions, workload.events)
    await log.create([source.topic], source.partitions)
    with progress.task(f"writing {workload.events:,} events", workload.events):
        await write(log.bootstrap, source.topic, source.partitions, workload)
    return source


def by_name(names: Iterable[str]) -> Iterator[Engine]:
    yield from (engine for engine in ENGINES if engine.name in set(names))
