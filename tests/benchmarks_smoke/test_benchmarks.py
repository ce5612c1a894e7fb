"""Every benchmark, tiny: they start, they end, what they say has the promised shape. What they measure here means nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results, sweeps
from benchmarks.bridge import bridge
from benchmarks.components import COMPONENTS
from benchmarks.door import door
from benchmarks.engines import Engine, Input
from benchmarks.environments import Missing, quix_python
from benchmarks.hot_path import Expected, WrongResult, by_name, hot_path
from benchmarks.latency import running
from benchmarks.log import Log
from benchmarks.measure import measure
from benchmarks.plots import draw
from benchmarks.progress import Progress
from benchmarks.recovery import ENGINES as RECOVERING
from benchmarks.recovery import recovery
from benchmarks.workload import Fingerprint, Workload, body, key, version
from gateway.local.kafka import Kafka
from gateway.local.process import Child
from streams.codec import decode_event
from streams.events import Incoming
from streams.settings import Limits

FIGURES = {"path", "engine", "events", "events_per_s", "events_per_cpu_s", "peak_rss_bytes", "result_hash"}


def row(path: str, engine: str, figure: float) -> dict[str, Any]:
    return dict.fromkeys(FIGURES, 0) | {"path": path, "engine": engine, "events_per_s": figure, "events_per_cpu_s": figure}


def installed(name: str) -> bool:
    if name != "quix_streams":
        return True
    try:
        quix_python(may_install=False)
    except Missing:
        return False
    return True


class TestWorkload:
    def test_event_is_accepted(self) -> None:
        """An event of the workload is one that SyncMaster understands, of about 640 bytes, about the artifact it is keyed by."""
        raw = body(1234, 17, 3)
        event = decode_event(Incoming(raw), Limits())
        assert (event.artifact.key, event.artifact.version) == (key(17), version(3))
        assert 600 < len(raw) < 680

    def test_beginning_is_the_same(self) -> None:
        """A shorter workload is the beginning of a longer one, so engines that get less still get the same."""
        assert list(Workload(50, 7).numbered()) == list(Workload(100, 7).numbered())[:50]

    @pytest.mark.parametrize("fault", ["lost", "doubled", "swapped"])
    def test_fingerprint_sees_faults(self, fault: str) -> None:
        """A lost, a doubled or a wrongly ordered update changes the fingerprint."""
        updates = [(key(artifact), count, version(count)) for _, artifact, count in Workload(100, 7).numbered()]
        wrong = {"lost": updates[1:], "doubled": [*updates, updates[3]], "swapped": [(updates[0][0], 1, "1.2.0"), *updates[1:]]}[
            fault
        ]
        found = Fingerprint()
        for update in wrong:
            found.add(*update)
        assert found.hex() != Workload(100, 7).fingerprint()


class TestMeasure:
    async def test_cpu_is_of_that_process_alone(self, tmp_path: Path) -> None:
        """What this process computes meanwhile does not count: the CPU time is the child's."""
        child = Child("sleeps", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
        child.start()
        asked = 0

        async def progress() -> int:
            nonlocal asked
            asked += 1
            sum(range(3_000_000))
            return asked

        async def done() -> bool:
            return True

        found = await measure(child, events=10, progress=progress, done=done)
        child.kill9()
        assert found.cpu_s < 0.1
        assert found.peak_rss_bytes > 1 << 20
        assert found.events == 8  # the first fifth is warm-up

    async def test_ended_process(self, tmp_path: Path) -> None:
        """A process that ends before it is done is an error that shows its log."""
        child = Child("ends", [sys.executable, "-c", "print('out of luck'); raise SystemExit(3)"], tmp_path)
        child.start()

        async def nothing() -> int:
            return 0

        async def never() -> bool:
            return False

        with pytest.raises(RuntimeError, match=r"(?s)exit code 3.*out of luck"):
            await measure(child, events=10, progress=nothing, done=never)


class TestResults:
    def test_latest_has_the_shape(self, tmp_path: Path) -> None:
        """latest.json has the promised keys, ratios are ours over theirs, and what was not measured is null."""
        results.save([row("hot_path", "syncmaster", 100.0), row("hot_path", "floor", 400.0)], directory=tmp_path)
        latest = json.loads((tmp_path / "latest.json").read_text())
        assert set(latest) == {"commit", "machine", "rows", "ratios", "latency_ms"}
        assert set(latest["rows"][0]) >= FIGURES
        assert latest["ratios"]["hot_path"]["floor"] == 0.25
        assert latest["ratios"]["bridge"] == {"raw_pull": None}
        assert set(latest["latency_ms"]) == {"p50", "p99"}

    def test_other_paths_stay(self, tmp_path: Path) -> None:
        """A run that measures one path leaves the rows of the others, and every row ever is in the history."""
        results.save([row("bridge", "syncmaster", 1.0)], directory=tmp_path)
        results.save([row("hot_path", "floor", 1.0)], directory=tmp_path)
        results.save([row("hot_path", "floor", 2.0)], directory=tmp_path)
        found = [(each["path"], each["events_per_s"]) for each in results.load(tmp_path)["rows"]]
        assert found == [("bridge", 1.0), ("hot_path", 2.0)]
        assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 3
        assert len((tmp_path / "history.csv").read_text().splitlines()) == 4

    def test_plots_need_nothing(self, tmp_path: Path) -> None:
        """A PNG for each path that was measured, and one HTML page that loads nothing from elsewhere."""
        latest = results.save([row("hot_path", "syncmaster", 100.0), row("door", "always_single_1", 4.0)], directory=tmp_path)
        files = draw(latest, tmp_path / "plots")
        assert {file.name for file in files} == {"hot_path.png", "door.png", "index.html"}
        page = (tmp_path / "plots" / "index.html").read_text()
        assert not any(loads in page for loads in ("<script", "<link", "src=", "@import"))


@pytest.mark.connected
class TestPaths:
    @pytest.mark.parametrize("name", ["syncmaster", "floor", "stock_faust", "quix_streams"])
    async def test_hot_path(self, name: str, kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
        """The engine does all the work, is measured, and its result is what the workload makes of it."""
        if not installed(name):
            pytest.skip("Quix Streams' environment is not made here; `make bench` makes it")
        workload = Workload(2000, 50)
        async with Log(kafka.bootstrap) as log:
            rows = await hot_path(log, tmp_path, Progress(), workload=workload, path=topic_prefix, engines=by_name([name]))
        assert [each["engine"] for each in rows] == [name]
        assert rows[0]["events_per_cpu_s"] > 0
        assert rows[0]["result_hash"] == ("" if name == "floor" else workload.fingerprint())

    async def test_wrong_result_is_refused(self, kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
        """An engine whose updates are not what the input makes gets no row."""
        async with Log(kafka.bootstrap) as log:
            await log.create([f"{topic_prefix}.portal"], 4)
            with pytest.raises(WrongResult, match="expected"):
                await Expected(Workload(10, 3), 10).check(log, f"{topic_prefix}.portal", 4)

    async def test_missing_peer_is_skipped_by_name(self, kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
        """A peer that cannot run here is told by name, with the reason, and the others have their rows."""

        def missing(source: Input, directory: Path, number: int) -> Any:
            raise Missing("there is no Maven")

        told: list[tuple[str, str]] = []
        progress = Progress()
        progress.skipped = lambda name, reason: told.append((name, reason))  # type: ignore[method-assign]
        async with Log(kafka.bootstrap) as log:
            rows = await hot_path(
                log, tmp_path, progress, workload=Workload(100, 3), path=topic_prefix, engines=[Engine("java", 1000, missing)]
            )
        assert (rows, told) == ([], [("java", "there is no Maven")])

    async def test_recovery(self, kafka: Kafka, tmp_path: Path) -> None:
        """SyncMaster's recovery is measured by what its process says of itself."""
        async with Log(kafka.bootstrap) as log:
            rows = await recovery(log, tmp_path, Progress(), records=2000, engines=RECOVERING[:1])
        assert rows[0]["events"] == 2000

    async def test_bridge(self, kafka: Kafka, tmp_path: Path) -> None:
        """The bridge and both raw pulls take the same stream, and each gets a row."""
        async with Log(kafka.bootstrap) as log:
            rows = await bridge(log, tmp_path, Progress(), messages=2000)
        assert [each["engine"] for each in rows] == ["syncmaster", "raw_pull", "raw_pull_own_reader"]

    async def test_door(self, tmp_path: Path) -> None:
        """Publishers are acknowledged, one event or a batch at a time, with and without a sync first."""
        rows = await door(tmp_path, Progress(), seconds=0.1, publishers=(2,))
        assert [each["engine"] for each in rows] == ["always_single_2", "always_batch_2", "default_single_2", "default_batch_2"]

    async def test_latency(self, kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
        """Each event is timed from when it was due to when each kind of component has it."""
        async with Log(kafka.bootstrap) as log, running(log, tmp_path / topic_prefix) as stack:
            stack.arrivals.clear()
            count, _ = await stack.load(50, 0.5)
            assert [await stack.settle(count, component) for component in COMPONENTS] == [True, True, True]
            assert all(latency > 0 for latencies in stack.arrivals.latencies_s.values() for latency in latencies)

    async def test_sweep(self, kafka: Kafka, tmp_path: Path) -> None:
        """A sweep runs the worker with other settings and cuts its run into parts."""
        async with Log(kafka.bootstrap) as log:
            rows = await sweeps.by_age(log, tmp_path, Progress(), versions=2000, artifacts=4)
        assert rows
        assert all(each["path"] == "sweep_age" for each in rows)
