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

Written by `make soak`. A load of all kinds on real Kafka and NATS (three workers, two bridges, a gateway, three components and one that reads
the log) while every process is killed, paused, cut in the middle of a transaction or robbed of its disk, one fault after another, by a
schedule from a seed. Afterwards every checker of `tests/checkers.py` holds. `make soak SEED=n` runs a seed again.

| run | commit | seed | events | artifacts | messages | records in [events] | turns | outcomes | faults | minutes |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def write_report(path: Path, form: Form, done: Sequence[Step], cluster: Cluster, sent: Sequence[Sent], elapsed_s: float) -> None:
    """Adds a row; begins the page anew where it is not there."""
    readings = cluster.readings
    outcomes = Counter(entry.record.outcome.value for entry in readings.audited())
    faults = Counter(step.fault for step in done)
    cells = [
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip(),
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
    text = path.read_text() if path.exists() else _HEAD
    path.write_text(text + "| " + " | ".join(map(str, cells)) + " |\n")
