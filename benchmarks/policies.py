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
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import msgspec
import typer
import yaml
from rich.console import Console
from rich.table import Table

from agents.pipeline import Turn
from agents.rules import Rules
from agents.turn import Work
from benchmarks.product import configuration
from benchmarks.results import RESULTS, commit
from benchmarks.workload import PRINCIPAL, TYPE, Workload, body, ingress, key
from gateway.cli.serve import relax_collector
from streams.holds import Holds
from streams.ingress import HEADER
from streams.settings import Settings
from streams.topics import Topics
from tables.audit_record import AuditRecord
from tables.model import MARKER_KEY
from tables.overlay import Overlay
from tables.store import PartitionStore, Stores

_CHUNK = 1000
_TEAMS, _ROLES_OF_TEAM = 39, 5
_ORBIT = Path(__file__).parents[1] / "gateway/local/orbit.yaml"
#: At most so much more than with the example's policies and rules.
MORE_MAX = 0.25


class Record(msgspec.Struct):
    """The fields of aiokafka's ConsumerRecord that the engine reads."""

    offset: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


# -- configurations ----------------------------------------------------------------------------------------------------------------


def configured(**more: Any) -> Settings:
    return Settings.model_validate(configuration("127.0.0.1:1", "bench", 1, Path("unused"), **more))


def example() -> list[dict[str, Any]]:
    """The policies of orbit.yaml, with its principals' part in them given to the one of the workload."""
    policies: list[dict[str, Any]] = yaml.safe_load(_ORBIT.read_text())["policies"]
    return [policy | {"principals": [PRINCIPAL]} if "principals" in policy else policy for policy in policies]


SCHEMA = {
    "type": "object",
    "required": ["context", "subject"],
    "properties": {
        "subject": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string", "maxLength": 2048, "pattern": "^pkg:"}, "content": {"type": "object"}},
        },
        "customData": {"type": "object", "properties": {"kind": {"enum": ["chart", "image"]}, "version": {"type": "string"}}},
    },
}

#: One of each kind that judges the workload's events, by its name in the table.
KINDS: dict[str, dict[str, Any]] = {
    "digest_required": {"kind": "digest_required"},
    "digest_immutable": {"kind": "digest_immutable"},
    "version_forward": {"kind": "version_forward"},
    "size_limit": {"kind": "size_limit", "bytes_max": 65_536},
    "rate_limit": {"kind": "rate_limit", "events_per_s": 1000, "burst_events": 10_000},
    "allow_deny": {"kind": "allow_deny", "sources": {"allow": ["/c*"], "deny": ["/c24-test*"]}},
    "freeze_window": {"kind": "freeze_window", "cron": "0 18 24 12 *", "duration_minutes": 12_000, "time_zone": "Europe/Berlin"},
    "json_schema": {"kind": "json_schema", "data_schema": SCHEMA},
}


def twenty() -> list[dict[str, Any]]:
    """Each kind once for the workload's charts, and what a platform has besides: images, environments, other principals."""
    charts = [shape | ({} if shape["kind"] == "rate_limit" else {"artifacts": ["chart/*"]}) for shape in KINDS.values()]
    images = [KINDS[kind] | {"artifacts": ["image/*"]} for kind in ("digest_required", "digest_immutable", "size_limit")]
    places = [
        {"kind": "allow_deny", "artifacts": [f"image/*/team-{n}/*"], "registries": {"allow": ["*.example"]}} for n in range(3)
    ]
    frozen = [KINDS["freeze_window"] | {"environments": [name]} for name in ("prod", "staging")]
    rates = [KINDS["rate_limit"] | {"principals": [f"team-{n:02}"]} for n in range(3)]
    found = [*charts, *images, *places, *frozen, *rates, KINDS["json_schema"] | {"types": ["dev.cdevents.environment.*"]}]
    return named(found)


def all_at_once() -> list[dict[str, Any]]:
    """Twenty policies all of which judge every event: each kind twice, and four of them a third time. The worst case, not a platform."""
    shapes = [*KINDS.values()] * 3
    return named(shapes[:20])


def named(shapes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [shape | {"name": f"policy-{number}"} for number, shape in enumerate(shapes)]


def two_hundred_rules() -> dict[str, Any]:
    """One rule for the workload's principal, four more of it, and five for each of 39 teams."""
    teams = [f"team-{number:02}" for number in range(_TEAMS)]
    own = [{"verbs": ["publish"], "types": ["dev.cdevents.artifact.*"], "artifacts": ["chart/*"]}]
    own += [{"verbs": ["read"], "artifacts": [f"chart/*-{number}"]} for number in range(4)]
    roles = {PRINCIPAL: {"rules": own}} | {team: {"rules": _rules(team)} for team in teams}
    bindings = [{"name": name, "role": name, "principals": [name]} for name in roles]
    return {"principals": {name: {} for name in roles}, "roles": roles, "bindings": bindings}


def _rules(team: str) -> list[dict[str, Any]]:
    publish = {"verbs": ["publish"], "types": ["dev.cdevents.artifact.*"]}
    return [
        publish | {"artifacts": [f"chart/{team}-*"]},
        publish | {"artifacts": [f"image/*/{team}/*"]},
        {"verbs": ["publish"], "types": ["dev.cdevents.environment.*"], "artifacts": [f"environment/{team}"]},
        {"verbs": ["read", "sync"], "artifacts": [f"*/{team}*"]},
        {"verbs": ["hold", "release"], "artifacts": [f"chart/{team}-*"], "environments": ["prod"]},
    ]


# -- measuring ---------------------------------------------------------------------------------------------------------------------


class Engine:
    """The turns of one configuration over a store of its own."""

    def __init__(self, name: str, settings: Settings, store: PartitionStore) -> None:
        self.name = name
        self.rules = Rules(settings)
        self.policies = len(settings.policies)
        self.rules_count = sum(len(settings.roles[binding.role].rules) for binding in settings.bindings)
        self.judging = len(self.rules.policies.applying(TYPE, key(0), PRINCIPAL))
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

    def row(self, base_us: float) -> dict[str, Any]:
        cost_us = self.cpu_us
        return {
            "configuration": self.name,
            "policies": self.policies,
            "judging each event": self.judging,
            "rules": self.rules_count,
            "cpu_us_per_event": round(cost_us, 2),
            "over_example": round(cost_us / base_us - 1, 3),
        }

    @property
    def cpu_us(self) -> float:
        """The median chunk of the second half: caches are warm, as they are in a worker that runs."""
        return median(self.chunks_us[len(self.chunks_us) // 2 :])


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
        alone = {name: {"policies": named([shape])} for name, shape in KINDS.items()}
        more = {
            "none": {},
            "example": {"policies": example()},
            "twenty policies, 200 rules": {"policies": twenty()} | two_hundred_rules(),
            "twenty that judge every event, 200 rules": {"policies": all_at_once()} | two_hundred_rules(),
        } | alone
        stores = [Stores(Path(directory) / str(number)).open(0) for number in range(len(more))]
        engines = [Engine(name, configured(**keys), store) for (name, keys), store in zip(more.items(), stores, strict=True)]
        relax_collector()
        for number, records in enumerate(chunks(Workload(events, artifacts))):
            for engine in engines[number % len(engines) :] + engines[: number % len(engines)]:
                engine.take(records)
        return [engine.row(engines[1].cpu_us) for engine in engines]


def main(
    events: Annotated[int, typer.Option(help="Events through each configuration.")] = 40_000,
    artifacts: Annotated[int, typer.Option(help="Artifacts that they are about.")] = 2_000,
    save: Annotated[bool, typer.Option(help="Keep the rows in benchmarks/results/policies.json.")] = True,
) -> None:
    """CPU time per event with no policies, the example's, and twenty policies beside two hundred rules."""
    rows = measure(events, artifacts)
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=160).print(table)
    if save:
        content = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds"), "events": events, "rows": rows}
        (RESULTS / "policies.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
