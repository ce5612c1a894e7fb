"""`python -m benchmarks.policies`: what policies and rules cost the hot path, as CPU time of the engine's turns.

The same events go through the same turns under several configurations, chunk by chunk in turn, so that a noisy machine is noisy for all.
A turn is everything between the log and the log: dedup, decoding, rules, policies, fold, routing, audit, and the records of the
transaction. What Kafka and RocksDB cost comes on top in all of them, so the whole hot path grows by less than this tells.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from agents.pipeline import Turn
from agents.policies import Case, Compiled, judge
from agents.policies.registry import KINDS as REGISTRY
from agents.rules import Rules
from agents.turn import Work
from benchmarks import engines as hot
from benchmarks.hot_path import hot_path
from benchmarks.log import Log
from benchmarks.policy_sets import EXAMPLE, KINDS, LARGE, named, sets
from benchmarks.product import configuration
from benchmarks.progress import Progress
from benchmarks.results import RESULTS, Row, commit
from benchmarks.workload import PRINCIPAL, TYPE, Workload, body, ingress, key
from gateway.cli.serve import relax_collector
from streams.codec import decode_event
from streams.events import Incoming
from streams.holds import Holds
from streams.ingress import HEADER, Ingress
from streams.settings import Limits, Settings
from streams.topics import Topics
from tables.audit_record import AuditRecord
from tables.model import MARKER_KEY
from tables.overlay import Overlay
from tables.store import PartitionStore, Stores

_CHUNK = 1000
#: At most so much more than with the example's policies and rules.
MORE_MAX = 0.25


class Record(msgspec.Struct):
    """The fields of aiokafka's ConsumerRecord that the engine reads."""

    offset: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Engine:
    """The turns of one configuration over a store of its own."""

    def __init__(self, name: str, settings: Settings, store: PartitionStore) -> None:
        self.name = name
        self.rules = Rules(settings)
        self.policies = len(settings.policies)
        self.rules_count = sum(len(settings.roles[binding.role].rules) for binding in settings.bindings)
        self.judging = len(self.rules.course(PRINCIPAL, TYPE, key(0)).policies)
        self.chunks_us: list[float] = []
        self._store, self._overlay, self._topics = store, Overlay(store), Topics("bench")

    def take(self, records: list[Record]) -> None:
        turn = Turn(0, self._store.marker(), self._overlay, self.rules, records[-1].offset, holds=Holds())
        began = time.process_time_ns()
        outcome = turn.run(Work(events=records))
        appends = outcome.appends(self._topics, 0)
        self.chunks_us.append((time.process_time_ns() - began) / 1000 / len(records))
        batch = self._store.batch()
        for table, changes in outcome.tables.items():
            for name, value, _ in changes:
                batch.apply(table, name, value)  # type: ignore[arg-type]
        batch.apply("artifacts", MARKER_KEY, msgspec.json.encode(outcome.marker))
        self._store.write(batch)
        self._overlay.committed()
        _check(appends, len(records))

    def row(self, example: Engine) -> dict[str, Any]:
        """`over_example` is the median over the rounds, each of which had both."""
        half = len(self.chunks_us) // 2
        pairs = zip(self.chunks_us[half:], example.chunks_us[half:], strict=True)
        return {
            "configuration": self.name,
            "policies": self.policies,
            "judging each event": self.judging,
            "rules": self.rules_count,
            "cpu_us_per_event": round(_undisturbed(self.chunks_us[half:]), 2),
            "over_example": round(median(mine / theirs for mine, theirs in pairs) - 1, 3),
        }


def _undisturbed(times_us: list[float]) -> float:
    """The lower quartile: others on the machine only make things dearer."""
    return quantiles(times_us)[0]


def _check(appends: list[Any], events: int) -> None:
    """A policy that refused would make its configuration look cheap."""
    (audit,) = [append.records for append in appends if append.topic.endswith(".audit")]
    found = [msgspec.json.decode(value, type=AuditRecord).outcome for _, value, _ in audit[:1]]
    if len(audit) != events or found != ["accepted"]:
        raise SystemExit(f"an event was not accepted: {audit[0]}")


def chunks(workload: Workload) -> Iterator[list[Record]]:
    records = [
        Record(number, key(artifact).encode(), body(number, artifact, count), [(HEADER, ingress(number))])
        for number, artifact, count in workload.numbered()
    ]
    for first in range(0, len(records), _CHUNK):
        yield records[first : first + _CHUNK]


def measure(events: int, artifacts: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="syncmaster-bench-") as directory:
        content = {name: configuration("127.0.0.1:1", "bench", 1, Path(directory), **more) for name, more in sets().items()}
        engines = [
            Engine(name, Settings.model_validate(settings), Stores(Path(directory) / str(number)).open(0))
            for number, (name, settings) in enumerate(content.items())
        ]
        relax_collector()
        for number, records in enumerate(chunks(Workload(events, artifacts))):
            first = number % len(engines)
            for engine in engines[first:] + engines[:first]:
                engine.take(records)
        (base,) = [engine for engine in engines if engine.name == EXAMPLE]
        return [engine.row(base) for engine in engines]


def by_kind(events: int) -> dict[str, float]:
    """CPU µs that one policy of each kind adds to judging an event; making the case, once for all policies, is `case`."""
    arrived = []
    for number, artifact, count in Workload(events, 100).numbered():
        incoming = Incoming(body(number, artifact, count))
        arrived.append((decode_event(incoming, Limits()), incoming, Ingress.decode(ingress(number))))
    policies = Settings.model_validate({"cluster": "bench", "policies": named([*KINDS.values()])}).policies
    compiled: dict[str, tuple[Compiled, ...]] = {"case": ()}
    compiled |= {policy.kind: (Compiled(policy.name, policy.action, REGISTRY[type(policy)](policy)),) for policy in policies}
    times_us: dict[str, list[float]] = {kind: [] for kind in compiled}
    for _ in range(60):
        for kind, found in compiled.items():
            began = time.process_time_ns()
            for event, incoming, origin in arrived:
                judge(found, Case(event, incoming, origin))
            times_us[kind].append((time.process_time_ns() - began) / 1000 / events)
    quietest = {kind: min(times) for kind, times in times_us.items()}
    return {kind: round(us - (quietest["case"] if kind != "case" else 0), 2) for kind, us in quietest.items()}


async def policies(log: Log, directory: Path, progress: Progress, *, events: int) -> list[Row]:
    """The same for the whole hot path, a worker between a real log and itself, with the two sets that matter: `--only policies`."""
    engines = [
        hot.Engine(name.replace(", ", "_").replace(" ", "_"), 50_000, partial(hot.Ours, **sets()[name]))
        for name in (EXAMPLE, LARGE)
    ]
    workload = Workload(events, 2_000)
    return await hot_path(log, directory, progress, workload=workload, path="policies", repetitions=3, engines=engines)


def main(
    events: Annotated[int, typer.Option(help="Events through each configuration.")] = 40_000,
    artifacts: Annotated[int, typer.Option(help="Artifacts that they are about.")] = 2_000,
    save: Annotated[bool, typer.Option(help="Keep the rows in benchmarks/results/policies.json.")] = True,
) -> None:
    """CPU time per event with no policies, the example's, and twenty policies beside two hundred rules."""
    rows, kinds = measure(events, artifacts), by_kind(1000)
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=160).print(table)
    print("µs that a policy adds to judging an event:", *(f"{kind} {cost_us}" for kind, cost_us in kinds.items()), sep="\n  ")
    large = next(row["over_example"] for row in rows if row["configuration"] == LARGE)
    print(f"{LARGE}: {large:+.1%} CPU per event over the example's; at most {MORE_MAX:+.0%} is wanted")
    if save:
        when = datetime.now(UTC).isoformat(timespec="seconds")
        content = {"commit": commit(), "at": when, "events": events, "rows": rows, "cpu_us_by_kind": kinds}
        (RESULTS / "policies.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
