"""Turns under holds: records for components that read the log wait, and are written after the release; policies that halt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from agents import holds as holds_module
from agents.hold_watch import UNKNOWN
from agents.holds import halt, has_released
from agents.rules import Rules
from agents.turn import Outcome
from agents.turn_state import TurnState
from streams.control import Hold
from streams.holds import Holds
from streams.settings import Settings
from streams.settings_policies import Halts
from streams.topics import Topics
from tables.audit_record import AuditRecord
from tables.model import SyncState
from tables.overlay import Overlay
from tables.store import Stores
from tests.brokers import orbit
from tests.events import chart_event, record
from tests.partition import NOW_MS, Partition
from tests.unit.engine.test_pipeline import command

EVERYTHING = Holds([Hold("h", "halt", principal="operator", reason="test", at_ms=1)])


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Partition]:
    """`c20` wants every chart version from the log, `c28` the newest."""
    content = orbit(tmp_path).model_dump()
    for name in ("c20", "c28"):
        content["components"][name]["sink"] = {"type": "log"}
    stores = Stores(tmp_path / "stores")
    yield Partition(stores.open(0), Settings.model_validate(content))
    stores.close_all()


def versions(outcome: Outcome, component: str = "c20") -> list[str]:
    return [f"{json.loads(value)['artifact']} {json.loads(value)['version']}" for _, value, _ in outcome.sync[component] if value]


def test_records_wait_and_follow_in_order(logged: Partition) -> None:
    """Under a hold no record is written; after the release there is one for each version, in order, or for the newest, as the route says."""
    logged.turn(record(0, chart_event("a", "1.0.0")))
    logged.holds = EVERYTHING
    outcomes = [logged.turn(record(n, chart_event("a", f"1.{n}.0"))) for n in range(1, 4)]
    assert [dict(outcome.sync) for outcome in outcomes] == [{}, {}, {}]
    assert logged.head("chart/a").sync["c20"].state is SyncState.BEHIND
    logged.holds = Holds()
    released = logged.turn()
    assert versions(released) == ["chart/a 1.1.0", "chart/a 1.2.0", "chart/a 1.3.0"]
    assert versions(released, "c28") == ["chart/a 1.3.0"]
    syncs = logged.head("chart/a").sync
    assert [(s.state, s.deliveries, s.superseded, s.pending) for s in (syncs["c20"], syncs["c28"])] == [
        (SyncState.IN_SYNC, 4, 0, 0),
        (SyncState.IN_SYNC, 2, 2, 0),
    ]
    assert not has_released(logged.marker, logged.holds)


def test_what_comes_after_the_release_goes_behind_what_waited(logged: Partition) -> None:
    """An event in the very turn of the release, and one whose artifact is not looked at yet, do not overtake."""
    logged.holds = EVERYTHING
    logged.turn(record(0, chart_event("a", "1.0.0")), record(1, chart_event("b", "1.0.0")))
    logged.holds = Holds()
    outcome = logged.turn(record(2, chart_event("b", "2.0.0")), record(3, chart_event("a", "2.0.0")))
    assert versions(outcome) == ["chart/a 1.0.0", "chart/b 1.0.0", "chart/b 2.0.0", "chart/a 2.0.0"]


def test_only_what_is_held_waits(logged: Partition) -> None:
    """Another artifact, and another component, get their records meanwhile."""
    logged.holds = Holds([Hold("h", "halt", ("chart/a",), "c20")])
    outcome = logged.turn(record(0, chart_event("a", "1.0.0")), record(1, chart_event("b", "1.0.0")))
    assert versions(outcome) == ["chart/b 1.0.0"]
    assert versions(outcome, "c28") == ["chart/a 1.0.0", "chart/b 1.0.0"]


def test_a_manual_sync_waits(logged: Partition) -> None:
    """Sync now of a held artifact is taken, and its record written after the release."""
    logged.turn(record(0, chart_event("a", "1.0.0")))
    logged.holds = Holds([Hold("h", "hold", ("chart/a",))])
    assert not versions(logged.turn(commands=[command(0, "chart/a", component="c20")]))
    logged.holds = Holds()
    assert versions(logged.turn()) == ["chart/a 1.0.0"]
    assert logged.head("chart/a").sync["c20"].command == "op1"


def test_a_release_is_worked_off_in_bounded_turns_and_survives_a_restart(
    logged: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One turn looks at a bounded number of heads; the marker says how far it is, so that whoever goes on goes on from there."""
    monkeypatch.setattr(holds_module, "HEADS_PER_TURN_MAX", 2)
    logged.holds = EVERYTHING
    logged.turn(*(record(n, chart_event(f"a{n}", "1.0.0")) for n in range(5)))
    logged.holds = Holds()
    found = []
    while has_released(logged.marker, logged.holds):
        found.append(versions(logged.turn()))
        logged.overlay = Overlay(logged.store)
    assert found == [["chart/a0 1.0.0", "chart/a1 1.0.0"], ["chart/a2 1.0.0", "chart/a3 1.0.0"], ["chart/a4 1.0.0"]]


def test_a_hold_in_the_middle_of_a_release(logged: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held again before its turn came waits on, and is written after the second release; nothing is written twice."""
    monkeypatch.setattr(holds_module, "HEADS_PER_TURN_MAX", 2)
    logged.holds = EVERYTHING
    logged.turn(*(record(n, chart_event(f"a{n}", "1.0.0")) for n in range(4)))
    logged.holds = Holds()
    assert versions(logged.turn()) == ["chart/a0 1.0.0", "chart/a1 1.0.0"]
    logged.holds = Holds([Hold("again", "hold", ("chart/a3",))])
    found = []
    while has_released(logged.marker, logged.holds):
        found += versions(logged.turn())
    assert found == ["chart/a2 1.0.0"]
    logged.holds = Holds()
    while has_released(logged.marker, logged.holds):
        found += versions(logged.turn())
    assert found == ["chart/a2 1.0.0", "chart/a3 1.0.0"]


def test_without_knowledge_records_wait(logged: Partition) -> None:
    """While nobody knows what is held nothing is written and nothing looked at; under the same holds as before all of it follows."""
    logged.turn(record(0, chart_event("a", "1.0.0")))
    logged.holds = UNKNOWN
    assert not versions(logged.turn(record(1, chart_event("a", "2.0.0"))))
    assert not has_released(logged.marker, UNKNOWN)
    logged.holds = Holds()
    assert has_released(logged.marker, logged.holds)
    assert versions(logged.turn()) == ["chart/a 2.0.0"]


def test_nothing_is_looked_at_where_nothing_waits(logged: Partition) -> None:
    """A hold that made no record wait costs no scan when it is released."""
    logged.turn(record(0, chart_event("a", "1.0.0")))
    logged.holds = EVERYTHING
    logged.turn()
    assert not has_released(logged.marker, Holds())


class Verdict(NamedTuple):
    rule: str
    detail: str


def turn_state(partition: Partition) -> TurnState:
    return TurnState(0, partition.marker, partition.overlay, partition.rules, NOW_MS, holds=partition.holds)


def test_a_policy_halts_an_artifact_once(logged: Partition) -> None:
    """Its hold is in the outcome, in effect at once, and audited; breaking the rule again makes no second one."""
    state = turn_state(logged)
    hold = halt(state, Verdict("no-rollback", "1.0.0 is below 2.0.0"), "chart/a")
    assert hold is not None
    assert (hold.verb, hold.artifacts, hold.rule, hold.reason) == ("halt", ("chart/a",), "no-rollback", "1.0.0 is below 2.0.0")
    assert state.holds.blocks("chart/a", "c20") == hold
    assert state.holds.blocks("chart/b", "c20") is None
    assert halt(state, Verdict("no-rollback", "again"), "chart/a") is None
    outcome = state.outcome()
    audited = [msgspec.json.decode(value, type=AuditRecord) for _, value, _ in outcome.audit if value]
    assert [(entry.code, entry.artifact, entry.rule, entry.command) for entry in audited] == [
        ("halt", "chart/a", "no-rollback", hold.id)
    ]
    control = [a for a in outcome.appends(Topics("t"), 0) if a.topic == "t.control"]
    assert [(append.partition, [key for key, _, _ in append.records]) for append in control] == [
        (0, [f"hold/{hold.id}".encode()])
    ]


def test_a_repeated_turn_makes_the_same_hold(logged: Partition) -> None:
    """The id is made from rule and artifact, so a turn that was given up and done again leaves one hold."""
    found = [halt(turn_state(logged), Verdict("r", "d"), "chart/a") for _ in range(2)]
    assert found[0] == found[1]


def test_a_policy_that_halts_too_much_halts_everything(logged: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds of a policy are bounded; the next one is about all artifacts."""
    monkeypatch.setattr(holds_module, "HOLDS_PER_RULE_MAX", 3)
    state = turn_state(logged)
    for number in range(6):
        halt(state, Verdict("r", "d"), f"chart/{number}")
    assert len(state.holds) == 4
    assert state.holds.blocks("image/any", "c8") is not None


@pytest.mark.parametrize(
    ("halts", "stopped", "goes_on"),
    [
        (Halts(artifacts=("chart/*",)), ("chart/b", "c20"), ("image/b", "c20")),
        (Halts(component="c20"), ("image/b", "c20"), ("image/b", "c8")),
        (Halts(artifacts=("image/*",), component="c20"), ("image/b", "c20"), ("image/b", "c8")),
        (Halts(everything=True), ("image/b", "c8"), None),
    ],
)
def test_a_policy_stops_what_it_names(
    logged: Partition, halts: Halts, stopped: tuple[str, str], goes_on: tuple[str, str] | None
) -> None:
    """A selector, a component, both or everything, once, whatever artifact broke the rule."""
    logged.rules.halts["r"] = halts
    state = turn_state(logged)
    hold = halt(state, Verdict("r", "d"), "chart/a")
    assert hold is not None
    assert state.holds.blocks(*stopped) == hold
    assert goes_on is None or state.holds.blocks(*goes_on) is None
    assert halt(state, Verdict("r", "d"), "chart/other") is None


def test_rules_without_log_components_need_no_control(tmp_path: Path) -> None:
    """Turns wait for nothing where no component reads the log."""
    assert not Rules(orbit(tmp_path)).routing.has_logs
