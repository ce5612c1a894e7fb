"""Pictures of the rows: PNG for the README, and one HTML page that needs nothing else. What was not measured is not drawn."""

from __future__ import annotations

import html
import io
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.results import OURS, Row

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "syncmaster"  # the same figure, the same file
_OURS, _OTHERS = "#0b7285", "#adb5bd"
_INK = "#212529"
_Draw = Callable[[Axes, list[Row]], None]


def draw(latest: dict[str, Any], directory: Path) -> list[Path]:
    """All figures that the rows allow, into `directory`; returns what was written."""
    directory.mkdir(parents=True, exist_ok=True)
    by_path: defaultdict[str, list[Row]] = defaultdict(list)
    for each in latest["rows"]:
        by_path[each["path"]].append(each)
    written, figures = [], []
    for path, (title, paint) in _FIGURES.items():
        if not by_path[path]:
            continue
        figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
        axes.set_title(title, loc="left", color=_INK)
        axes.spines[["top", "right"]].set_visible(False)
        paint(axes, by_path[path])
        file = directory / f"{path}.png"
        figure.savefig(file, dpi=130)
        figures.append(_svg(figure))
        plt.close(figure)
        written.append(file)
    page = directory / "index.html"
    page.write_text(_page(latest, figures))
    return [*written, page]


def _bars(figure: str, label: str) -> _Draw:
    def paint(axes: Axes, rows: list[Row]) -> None:
        rows = sorted(rows, key=lambda row: row[figure])
        colours = [_OURS if row["engine"] == OURS else _OTHERS for row in rows]
        bars = axes.barh([row["engine"].replace("_", " ") for row in rows], [row[figure] for row in rows], color=colours)
        axes.bar_label(bars, fmt=lambda value: f" {value:,.0f}")
        axes.set_xlabel(label)
        axes.margins(x=0.12)

    return paint


def _door(axes: Axes, rows: list[Row]) -> None:
    series: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        name, _, publishers = row["engine"].rpartition("_")
        series[name].append((int(publishers), row["events_per_s"]))
    for name, points in series.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name.replace("_", ", "))
    axes.set(xscale="log", yscale="log", xlabel="publishers", ylabel="acknowledged events/s")
    axes.legend()


_LATENCIES = {
    "http_alone": "one component, HTTP",
    "http": "three: over HTTP",
    "nats": "three: over NATS",
    "log": "three: from the log",
    "door": "acknowledged by JetStream",
}


def _latency_by_load(axes: Axes, rows: list[Row]) -> None:
    for kind, label in _LATENCIES.items():
        points = sorted((row["events_per_s"], row["p50_ms"], row["p99_ms"]) for row in rows if row["engine"] == kind)
        if not points:
            continue
        loads, p50, p99 = zip(*points, strict=True)
        (line,) = axes.plot(loads, p50, marker="o", label=label)
        axes.plot(loads, p99, marker=".", linestyle="--", color=line.get_color())
    axes.plot([], [], color="gray", label="p50")
    axes.plot([], [], color="gray", linestyle="--", label="p99")
    axes.set(yscale="log", xlabel="events/s, published and acknowledged", ylabel="publish to receipt, ms")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _by_artifacts(axes: Axes, rows: list[Row]) -> None:
    for series, label in (("drawn", "as traffic is: chunks repeat artifacts"), ("rounds", "no chunk repeats one: RocksDB alone")):
        points = sorted((row["artifacts"], 1e6 / row["events_per_cpu_s"]) for row in rows if row["series"] == series)
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set(xscale="log", xlabel="artifacts", ylabel="CPU time per event, µs", ylim=(0, None))
    axes.legend()


def _cost(key: str, label: str) -> _Draw:
    def paint(axes: Axes, rows: list[Row]) -> None:
        points = sorted((row[key], 1e6 / row["events_per_cpu_s"]) for row in rows)
        axes.plot(*zip(*points, strict=True), marker="o", color=_OURS)
        axes.set(xlabel=label, ylabel="CPU time per event, µs", ylim=(0, None))

    return paint


def _over_time(axes: Axes, rows: list[Row]) -> None:
    minutes = range(1, len(rows) + 1)
    axes.plot(minutes, [row["p99_ms"] for row in rows], marker="o", color=_OURS, label="p99, ms")
    axes.plot(minutes, [row["p50_ms"] for row in rows], marker="o", color=_OTHERS, label="p50, ms")
    axes.plot(minutes, [row["rss_bytes"] / 2**20 for row in rows], linestyle="--", color=_INK, label="resident memory, MiB")
    axes.set(xlabel="minute", ylim=(0, None))
    axes.legend()


_PER_CPU = "events per CPU-second of the engine's process"
_FIGURES: dict[str, tuple[str, _Draw]] = {
    "hot_path": ("Hot path, 2,000 artifacts", _bars("events_per_cpu_s", _PER_CPU)),
    "hot_path_200k": ("Hot path, 200,000 artifacts", _bars("events_per_cpu_s", _PER_CPU)),
    "bridge": ("NATS JetStream to Kafka", _bars("events_per_s", "messages/s")),
    "recovery": ("Recovery from the changelogs", _bars("events_per_cpu_s", "records per CPU-second of the engine's process")),
    "door": ("The door: acknowledged events", _door),
    "latency_by_load": ("Latency against load", _latency_by_load),
    "sweep_artifacts": ("Cost by number of artifacts", _by_artifacts),
    "sweep_age": ("Cost by an artifact's age", _cost("versions_before", "versions that the artifact has")),
    "sweep_partitions": ("Cost by partitions", _cost("partitions", "partitions")),
    "sweep_time": ("Ten minutes of load", _over_time),
}


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


def _page(latest: dict[str, Any], figures: list[str]) -> str:
    of = latest["machine"]
    machine = ", ".join(f"{key} {value}" for key, value in (of | of["versions"]).items() if key != "versions")
    columns = ("path", "engine", "events", "events_per_s", "events_per_cpu_s", "peak_rss_bytes", "result_hash", "commit", "at")
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join("<tr>" + "".join(_cell(row.get(column, "")) for column in columns) + "</tr>" for row in latest["rows"])
    ratios = "".join(
        f"<tr>{_cell(path)}{_cell(peer)}{_cell('not measured' if ratio is None else ratio)}</tr>"
        for path, peers in latest["ratios"].items()
        for peer, ratio in peers.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>SyncMaster benchmarks</title>'
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#212529}"
        "table{border-collapse:collapse;display:block;overflow-x:auto}td,th{padding:.2rem .7rem;border-bottom:1px solid #dee2e6;text-align:left}"
        "td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}</style>"
        f"<h1>SyncMaster benchmarks</h1><p>Commit {html.escape(latest['commit'])}. {html.escape(machine)}.</p>"
        f"<p>Latency at 1,000 events/s: {html.escape(json.dumps(latest['latency_ms']))} ms.</p>"
        f"<h2>SyncMaster over …</h2><table><tr><th>path<th>peer<th>ratio</tr>{ratios}</table>"
        + "".join(figures)
        + f"<h2>Rows</h2><table><tr>{head}</tr>{body}</table></html>\n"
    )


def _cell(value: Any) -> str:
    if isinstance(value, int | float):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{html.escape(str(value))}</td>"
