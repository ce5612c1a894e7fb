"""What follows from a policy's verdict within a turn: the event, the hold, the alert, the audit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.alerting import ALERTS_PER_RULE_MAX
from streams.alerts import decode_alert
from tests.brokers import orbit
from tests.events import chart_event, record
from tests.partition import Partition
from tests.simulation.stores import MemoryDatabase, MemoryStore


def partition(tmp_path: Path, action: str) -> Partition:
    policy = {"name": "no-bad", "kind": "allow_deny", "action": action, "sources": {"deny": ["urn:bad*"]}}
    return Partition(MemoryStore(MemoryDatabase(random.Random(1))), orbit(tmp_path, policies=[policy]))


def bad(offset: int = 0) -> Any:
    return record(offset, chart_event("a", "1.0.0", source="urn:bad"))


@pytest.mark.parametrize(
    ("action", "becomes", "severity"),
    [("alert", "accepted", "warning"), ("quarantine", "quarantined", "warning"), ("halt", "refused", "critical")],
)
def test_a_verdict_that_somebody_should_see_is_an_alert(tmp_path: Path, action: str, becomes: str, severity: str) -> None:
    """The alert names the artifact, the rule and the next step, and is in the transaction of what it tells."""
    outcome = (there := partition(tmp_path, action)).turn(bad())
    (alert,) = [decode_alert(value) for _, value, _ in outcome.alerts if value]
    assert (alert.artifact, alert.rule, alert.severity, alert.principal) == ("chart/a", "no-bad", severity, "c24")
    assert alert.next_step
    assert alert.labels["audit_id"] == there.audit[-1].id
    assert there.audit[-1].outcome.value == becomes


def test_an_accepted_event_tells_which_policies_alerted(tmp_path: Path) -> None:
    """Every decision carries the names of the policies that had something to say."""
    there = partition(tmp_path, "alert")
    there.turn(bad())
    assert there.audit[-1].detail == "alerts: no-bad"


def test_alerts_of_one_rule_are_bounded(tmp_path: Path) -> None:
    """A policy that fits every event does not write an alert for each; the audit has all of them."""
    there = partition(tmp_path, "alert")
    events = [record(n, chart_event(f"a{n}", "1.0.0", source="urn:bad")) for n in range(ALERTS_PER_RULE_MAX + 10)]
    assert len(there.turn(*events).alerts) == ALERTS_PER_RULE_MAX
    assert sum(found.detail == "alerts: no-bad" for found in there.audit) == len(events)


def test_a_refusal_is_no_alert(tmp_path: Path) -> None:
    """Its producer is told by the audit; nobody else needs to look."""
    assert partition(tmp_path, "refuse").turn(bad()).alerts == []


def test_the_same_record_makes_the_same_alert(tmp_path: Path) -> None:
    """A turn that is done again, because its transaction was given up, tells nothing new."""
    given_up = partition(tmp_path, "alert").try_turn(bad()).alerts
    again = partition(tmp_path, "alert").turn(bad()).alerts
    assert [msgspec.json.decode(value or b"") for _, value, _ in again] == [msgspec.json.decode(v or b"") for _, v, _ in given_up]


def test_halt_refuses_the_event_and_stops_the_artifact(tmp_path: Path) -> None:
    """The hold goes into [control] in the same transaction, with the policy's name; it holds this artifact and no other."""
    outcome = partition(tmp_path, "halt").turn(bad())
    (hold,) = outcome.holds
    assert (hold.verb, hold.artifacts, hold.rule) == ("halt", ("chart/a",), "no-bad")
    assert [key for key, _, _ in outcome.control] == [f"hold/{hold.id}".encode()]


def test_an_accepted_event_tells_the_rule_that_allowed_it(tmp_path: Path) -> None:
    """Every decision has a rule: without a policy's, the binding and the role's."""
    there = partition(tmp_path, "refuse")
    there.turn(record(0, chart_event("a", "1.0.0")))
    assert there.audit[-1].rule == "binding c24 -> role publisher-of-c24, rule 0"


def test_the_audit_links_states(tmp_path: Path) -> None:
    """What an accepted event left is what the next one met; a refused one leaves nothing."""
    there = partition(tmp_path, "refuse")
    there.turn(record(0, chart_event("a", "1.0.0")), bad(1), record(2, chart_event("a", "1.1.0")))
    first, refused, second = there.audit[-3:]
    assert first.before == ""
    assert first.after == second.before != second.after
    assert refused.after == ""


def test_the_audit_has_the_trace(tmp_path: Path) -> None:
    """The trace id of the event's `traceparent` is in its record."""
    event = chart_event("a", "1.0.0") | {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    there = partition(tmp_path, "refuse")
    there.turn(record(0, event))
    assert there.audit[-1].trace == "4bf92f3577b34da6a3ce929d0e0e4736"
