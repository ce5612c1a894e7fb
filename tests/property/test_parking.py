"""Parking against a simple model: whatever comes, is released, discarded, aborted or restarted, in any order.

Each artifact keeps its order, nothing is lost, and counts are what is there.
"""

from __future__ import annotations

import base64
import json
import random
import tempfile
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.settings import Settings
from tables.model import Kept
from tests.brokers import orbit
from tests.events import FakeRecord, chart_event, record
from tests.partition import Partition
from tests.simulation.stores import MemoryDatabase, MemoryStore

QUEUED_MAX = 5
SOURCES = {"good": "urn:good", "bad": "urn:bad", "worse": "urn:bad:worse", "evil": "urn:evil"}
#: By rule: which sources it quarantines. One more refuses `evil`.
QUARANTINED = {"no-bad": ("bad", "worse"), "no-worse": ("worse",)}

#: Two artifacts, one much busier than the other, and enough offenders that something waits most of the time.
kinds = ["good"] * 5 + ["bad"] * 2 + ["again"] * 2 + ["worse", "evil", "garbage"]
events = st.tuples(st.sampled_from("aaab"), st.sampled_from(kinds))
steps = st.one_of(
    st.tuples(st.just("turn"), st.lists(events, min_size=1, max_size=5)),
    st.tuples(st.just("turn"), st.lists(events, max_size=2)),
    st.tuples(st.just("release"), st.integers(0, 3)),
    st.tuples(st.just("release"), st.just(0)),
    st.tuples(st.sampled_from(["discard", "restart", "abort"]), st.integers(0, 3)),
)


@lru_cache
def configured() -> Settings:
    def deny(name: str, action: str, source: str) -> dict[str, Any]:
        return {"name": name, "kind": "allow_deny", "action": action, "sources": {"deny": [source]}}

    policies = [
        deny("no-bad", "quarantine", "urn:bad*"),
        deny("no-worse", "quarantine", "urn:bad:worse"),
        deny("no-evil", "refuse", "urn:evil"),
    ]
    return orbit(Path(tempfile.mkdtemp()), policies=policies)


class Artifact:
    """What must be true of one. Events are numbers."""

    def __init__(self, kinds: dict[int, str]) -> None:
        self._kinds = kinds
        self.accepted: list[int] = []
        self.refused: list[int] = []
        self.known: set[int] = set()
        self.front: int | None = None
        self.waived: list[str] = []
        self.queue: list[int] = []

    @property
    def waiting(self) -> list[int]:
        return [*([] if self.front is None else [self.front]), *self.queue]

    def arrive(self, number: int) -> None:
        if number in self.known or number in self.waiting:
            return
        if not self.waiting:
            self._judge(number, [])
        elif len(self.queue) < QUEUED_MAX:
            self.queue.append(number)
        else:
            self.refused.append(number)

    def release(self, number: int) -> None:
        if number != self.front:
            return
        self.front = None
        self._judge(number, [*self.waived, self.rule(number, self.waived) or ""])

    def discard(self, number: int) -> None:
        self.known.add(number)
        if number == self.front:
            self.front = None
        else:
            self.queue.remove(number)

    def drain(self, count_max: int) -> None:
        for number in self.queue[:count_max]:
            if self.front is None:
                self.queue.remove(number)
                self._judge(number, [])

    def rule(self, number: int, waived: list[str]) -> str | None:
        return next((r for r, kinds in QUARANTINED.items() if self._kinds[number] in kinds and r not in waived), None)

    def _judge(self, number: int, waived: list[str]) -> None:
        if self.rule(number, waived) is not None:
            self.front, self.waived = number, waived
        elif self._kinds[number] == "evil":
            self.refused.append(number)
        else:
            self.accepted.append(number)
            self.known.add(number)


class Run:
    def __init__(self, drained_per_turn_max: int) -> None:
        self._drained_per_turn_max = drained_per_turn_max
        self.partition = Partition(MemoryStore(MemoryDatabase(random.Random(1))), configured())
        self.kinds: dict[int, str] = {}
        self.artifacts = {name: Artifact(self.kinds) for name in ("a", "b")}
        self.garbage: Counter[str] = Counter()
        self._draining: list[str] = []
        self._number = self._offset = 0

    def step(self, what: str, argument: Any) -> None:
        match what:
            case "turn":
                self._turn(argument)
            case "restart":
                self.partition.restart()
                self._draining.sort()
            case "abort":
                self.partition.try_turn(self._record("a", 0, "good") if 0 in self.kinds else self._garbage("a"))
                self._offset -= 1
                self.step("restart", None)
            case _:
                self._command(what, argument)
        self.check()

    def _turn(self, arriving: list[tuple[str, str]]) -> None:
        records = [(name, *self._event(name, kind)) for name, kind in arriving]
        self.partition.turn(*(made for _, _, made in records))
        self._drain()
        for name, number, _ in records:
            if number is None:
                self.garbage[f"chart/{name}"] += 1
            else:
                self.artifacts[name].arrive(number)

    def _command(self, what: str, index: int) -> None:
        entries = list(self.partition.quarantined().items())
        if not entries:
            return
        (key, ident), entry = entries[index % len(entries)]
        self.partition.command(f"quarantine.{what}", key, ident)  # type: ignore[arg-type]
        name = key.removeprefix("chart/")
        if entry.kept is Kept.MALFORMED:
            self.garbage[key] -= what == "discard"
        else:
            getattr(self.artifacts[name], what)(number_of(entry.body_base64))
            self._requeue(name)
        self._drain()

    def _drain(self) -> None:
        names = sorted(self._draining[: self._drained_per_turn_max])
        for name in names:
            self.artifacts[name].drain(self._drained_per_turn_max // len(names))
            self._requeue(name)

    def _requeue(self, name: str) -> None:
        """The engine takes turns: whoever was drained goes to the end."""
        self._draining = [other for other in self._draining if other != name]
        if self.artifacts[name].front is None and self.artifacts[name].queue:
            self._draining.append(name)

    def _event(self, name: str, kind: str) -> tuple[int | None, FakeRecord]:
        if kind == "garbage":
            return None, self._garbage(name)
        known = [n for n in self.kinds if self._name(n) == name]
        if kind == "again" and known:
            number = known[len(known) // 2]
            return number, self._record(name, number, self.kinds[number])
        self._number += 1
        number = self._number * 2 + (name == "b")
        self.kinds[number] = "good" if kind == "again" else kind
        return number, self._record(name, number, self.kinds[number])

    @staticmethod
    def _name(number: int) -> str:
        return "b" if number % 2 else "a"

    def _record(self, name: str, number: int, kind: str) -> FakeRecord:
        self._offset += 1
        return record(self._offset, chart_event(name, f"1.{number}.0", ident=str(number), source=SOURCES[kind]))

    def _garbage(self, name: str) -> FakeRecord:
        self._offset += 1
        return record(self._offset, b"garbage", key=f"chart/{name}")

    def check(self) -> None:
        partition, entries = self.partition, self.partition.quarantined()
        for name, model in self.artifacts.items():
            key = f"chart/{name}"
            told = [int(r.event_id) for r in partition.audit if (r.outcome.value, r.artifact) == ("accepted", key)]
            assert told == model.accepted, f"{key} accepted {told}, the model {model.accepted}"
            parked = [entry for (artifact, _), entry in entries.items() if artifact == key and entry.kept is not Kept.MALFORMED]
            waiting = [number_of(entry.body_base64) for entry in parked]
            assert waiting == model.waiting, f"{key}: {waiting} wait, in the model {model.waiting}"
            assert [entry.kept for entry in parked[:1]] == [Kept.PARKED if model.front is not None else Kept.QUEUED][
                : len(parked)
            ]
            bodies = sum(len(base64.b64decode(entry.body_base64)) for entry in parked if entry.kept is Kept.QUEUED)
            assert (lot.queued_bytes if (lot := partition.overlay.lots.get(key)) else 0) == bodies
            assert sum(artifact == key and e.kept is Kept.MALFORMED for (artifact, _), e in entries.items()) == self.garbage[key]
            gone = {n for n in self.kinds if self._name(n) == name} - {*model.waiting, *model.known, *model.refused}
            assert not gone, f"{key}: {gone} are nowhere"
        counted = Counter(f"{entry.reason} {entry.rule}" for entry in entries.values())
        assert partition.marker.quarantined == counted
        assert partition.marker.parked.artifacts == sum(bool(model.waiting) for model in self.artifacts.values())
        assert list(partition.overlay.draining) == [f"chart/{name}" for name in self._draining]


def number_of(body_base64: str) -> int:
    return int(json.loads(base64.b64decode(body_base64))["id"])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=6, max_size=40), st.integers(1, 2))
def test_order_holds_and_nothing_is_lost(script: list[tuple[str, Any]], drained_per_turn_max: int) -> None:
    """After every step the quarantine, what was accepted and in which order, and all counts are as the model says."""
    run = Run(drained_per_turn_max)
    with (
        patch("agents.parking.QUEUED_MAX", QUEUED_MAX),
        patch("agents.release.DRAINED_PER_TURN_MAX", drained_per_turn_max),
    ):
        for what, argument in script:
            run.step(what, argument)
        for _ in range(2 * QUEUED_MAX):
            run.step("turn", [])
    assert not run.partition.overlay.draining, "drained in the end"
