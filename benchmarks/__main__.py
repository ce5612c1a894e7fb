"""`python -m benchmarks`: measures, saves rows, draws. The Makefile's `bench` and `bench-long` are this, with an environment made first."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from benchmarks import results, sweeps
from benchmarks.bridge import bridge
from benchmarks.door import door
from benchmarks.engines import ENGINES
from benchmarks.hot_path import by_name, hot_path
from benchmarks.latency import latency, latency_by_load
from benchmarks.log import Log, broker
from benchmarks.plots import draw
from benchmarks.policies import policies
from benchmarks.progress import Progress
from benchmarks.recovery import recovery
from benchmarks.results import Row
from benchmarks.workload import Workload

_NAMES = [engine.name for engine in ENGINES if engine.name != "kafka_streams_eos_100ms"]
EVENTS, EVENTS_QUICK = 1_500_000, 900_000


class Bench:
    """One broker, one directory, one run. Each method measures one path and saves what it found at once."""

    def __init__(self, log: Log, directory: Path, progress: Progress, options: Options) -> None:
        self._log, self._directory, self._progress, self._options = log, directory, progress, options

    async def hot_path(self) -> None:
        await self._hot_path("hot_path", 2_000)

    async def hot_path_200k(self) -> None:
        await self._hot_path("hot_path_200k", 200_000)

    async def bridge(self) -> None:
        options = self._options
        self._save(
            await bridge(self._log, self._directory / "bridge", self._progress, messages=options.of(300_000), repetitions=3)
        )

    async def door(self) -> None:
        publishers = (1, 16, 256) if not self._options.long else (1, 4, 16, 64, 256)
        self._save(
            await door(
                self._directory / "door", self._progress, seconds=1.5 * min(1, self._options.scale * 10), publishers=publishers
            )
        )

    async def recovery(self) -> None:
        records = self._options.of(600_000)
        self._save(await recovery(self._log, self._directory / "recovery", self._progress, records=records))

    async def latency(self) -> None:
        rows, percentiles = await latency(self._log, self._directory / "latency", self._progress)
        self._save(rows, percentiles)
        self._save(await latency_by_load(self._log, self._directory / "load", self._progress, seconds=5.0))

    async def policies(self) -> None:
        self._save(await policies(self._log, self._directory, self._progress, events=self._options.of(300_000)))

    async def artifacts(self) -> None:
        events = self._options.of(600_000)
        self._save(await sweeps.by_artifacts(self._log, self._directory, self._progress, events=events))

    async def age(self) -> None:
        self._save(await sweeps.by_age(self._log, self._directory, self._progress))

    async def partitions(self) -> None:
        events = self._options.of(400_000)
        self._save(await sweeps.by_partitions(self._log, self._directory, self._progress, events=events))

    async def time(self) -> None:
        self._save(await sweeps.over_time(self._log, self._directory, self._progress))

    async def _hot_path(self, path: str, artifacts: int) -> None:
        options = self._options
        self._save(
            await hot_path(
                self._log,
                self._directory,
                self._progress,
                path=path,
                workload=Workload(options.of(EVENTS_QUICK if options.quick else EVENTS), artifacts),
                repetitions=options.repeat,
                engines=by_name(options.engines),
                slow_run_s=12 if options.quick else 15,
            )
        )

    def _save(self, rows: list[Row], latency_ms: dict[str, float] | None = None) -> None:
        if self._options.save:
            results.save(rows, latency_ms)


class Options:
    def __init__(self, *, quick: bool, long: bool, scale: float, repeat: int, engines: list[str], save: bool) -> None:
        self.quick, self.long, self.scale, self.repeat = quick, long, scale, repeat
        self.engines, self.save = engines, save

    def of(self, count: int) -> int:
        return max(2000, int(count * self.scale))


_QUICK = ("hot_path",)
#: What takes gigabytes of the log comes after what takes little of it: its pages are still being written to disk, by the same two cores.
_ALL = ("bridge", "recovery", "hot_path", "hot_path_200k", "policies", "door", "latency")
_LONG = ("artifacts", "age", "partitions", "time", "door")


def main(  # noqa: PLR0917 - typer reads them by name
    quick: Annotated[bool, typer.Option(help="The hot path only, with all peers: under 5 minutes.")] = False,
    long: Annotated[bool, typer.Option(help="Sweeps and ten minutes of load instead: under an hour.")] = False,
    only: Annotated[str, typer.Option(help=f"Some of {', '.join(dict.fromkeys(_ALL + _LONG))}; comma-separated.")] = "",
    engines: Annotated[str, typer.Option(help="Of the hot path; there is also kafka_streams_eos_100ms.")] = ",".join(_NAMES),
    scale: Annotated[float, typer.Option(help="Numbers of events times this: 0.02 tries everything out.")] = 1.0,
    repeat: Annotated[int, typer.Option(help="Runs of each engine of the hot path; the median counts.")] = 1,
    save: Annotated[bool, typer.Option(help="Keep the rows in benchmarks/results and draw the plots.")] = True,
) -> None:
    """Measure SyncMaster beside its peers, on a Kafka and a NATS server of the benchmark's own."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of every new topic that has no leader yet
    options = Options(quick=quick, long=long, scale=scale, repeat=repeat, engines=engines.split(","), save=save)
    paths = tuple(only.split(",")) if only else _QUICK if quick else _LONG if long else _ALL
    console = Console()
    directory = Path(tempfile.mkdtemp(prefix="syncmaster-bench-"))
    kafka = broker(directory / "kafka")
    try:
        kafka.start()
        uvloop.run(_run(kafka.bootstrap, directory, Progress(console), options, paths))
    finally:
        kafka.kill9()
        shutil.rmtree(directory, ignore_errors=True)
    if save:
        latest = results.load()
        draw(latest, results.RESULTS / "plots")
        Progress(console).ratios(latest["ratios"])
        console.print(f"latency at 1,000 events/s: {latest['latency_ms']} ms; plots and rows are in {results.RESULTS}")


async def _run(bootstrap: str, directory: Path, progress: Progress, options: Options, paths: tuple[str, ...]) -> None:
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(Log(bootstrap))
        bench = Bench(log, directory, progress, options)
        for path in paths:
            progress.section(path)
            measure: Callable[[], Awaitable[None]] = getattr(bench, path)
            await measure()


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
