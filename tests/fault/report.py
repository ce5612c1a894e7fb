"""Writes what a long run of the fault suite did, as a page of the documentation."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.fault.conftest import Form
from tests.fault.schedule import Step
from tests.harness import Cluster, Sent

_HEAD = """\
# Soak: the last long run of the fault suite

Written by `make soak`. A load of all kinds on real Kafka and NATS (two or three workers, two bridges, a gateway, three components and one
that reads the log) while every process is killed, paused, cut in the middle of a transaction or robbed of its disk, one fault after another, by a
schedule from a seed. Afterwards every checker of `tests/checkers.py` holds. `make soak SEED=n` runs a seed again.

| run | commit | seed | events | artifacts | messages | records in [events] | turns | outcomes | faults | minutes |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def commit() -> str:
    """Of this checkout, as it is now: to be asked when a run begins, for others may commit while it runs."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def write_report(
    path: Path, form: Form, began_at: str, done: Sequence[Step], cluster: Cluster, sent: Sequence[Sent], elapsed_s: float
) -> None:
    """Adds a row; begins the page anew where it is not there. `began_at` is the `commit` that the run began with."""
    readings = cluster.readings
    outcomes = Counter(entry.record.outcome.value for entry in readings.audited())
    faults = Counter(step.fault for step in done)
    cells = [
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        began_at,
        form.seed,
        form.events,
        form.artifacts,
        len(sent),
        sum(map(len, readings.events.values())),
        sum(map(len, readings.markers.values())),
        ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())),
        ", ".join(f"{count} × {name}" for name, count in sorted(faults.items())),
        f"{elapsed_s / 60:.1f}",
    ]
    lines = (path.read_text() if path.exists() else _HEAD).splitlines()
    end_of_table = max(number for number, line in enumerate(lines) if line.startswith("|")) + 1
    lines.insert(end_of_table, "| " + " | ".join(map(str, cells)) + " |")
    path.write_text("\n".join(lines) + "\n")
