"""Policies in a turn of the engine: what is decided, what the audit says, and what the state keeps for them. No log; the store is in memory."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from streams.ingress import HEADER, Ingress
from tests.brokers import orbit
from tests.events import FakeRecord, chart_event, digest_of, record
from tests.partition import Partition
from tests.simulation.stores import MemoryDatabase, MemoryStore

SLOW = {"name": "slow", "kind": "rate_limit", "events_per_s": 1, "burst_events": 1}
IMMUTABLE = {"name": "same-digest", "kind": "digest_immutable"}
FORWARD = {"name": "forward", "kind": "version_forward"}


def partition(directory: Path, *policies: dict[str, Any]) -> Partition:
    return Partition(MemoryStore(MemoryDatabase(random.Random(1))), orbit(directory, policies=policies))


def told(event: dict[str, Any], digest: str | None) -> dict[str, Any]:
    """The same event with another digest, or none, in its purl."""
    bare = event["subject"].partition("?")[0]
    purl = bare if digest is None else f"{bare}?checksum={digest}"
    event["data"]["subject"]["id"] = event["subject"] = purl
    return event


def stamped(made: FakeRecord, over: str) -> FakeRecord:
    return made._replace(headers=((HEADER, made.headers[0][1] + b" " + over.encode()),))


def test_a_refusal_names_policy_and_configuration(tmp_path: Path) -> None:
    """Who decided and under which configuration stands in the audit; the state stays as it was."""
    engine = partition(tmp_path, FORWARD)
    engine.turn(record(0, chart_event("a", "2.0.0")), record(1, chart_event("a", "1.0.0")))
    refused = engine.audit[-1]
    assert engine.outcomes() == ["accepted", "refused"]
    assert (refused.rule, refused.code, refused.config) == ("forward", "version.back", engine.rules.config_hash)
    assert engine.head("chart/a").version == "2.0.0"


def test_what_the_bridge_stamped_is_refused_and_audited(tmp_path: Path) -> None:
    """An event beyond the rate is not lost: its record says why it was not taken."""
    engine = partition(tmp_path, SLOW)
    engine.turn(record(0, chart_event("a", "1.0.0")), stamped(record(1, chart_event("a", "1.1.0")), "slow"))
    assert engine.outcomes() == ["accepted", "refused"]
    assert (engine.audit[-1].rule, engine.audit[-1].code) == ("slow", "rate.limited")
    assert Ingress.decode(engine.audit[-1].ingress.encode()).over == "slow"


@pytest.mark.parametrize("adding", ["signed", "deleted"])
def test_a_digest_is_remembered_through_what_only_adds(tmp_path: Path, adding: str) -> None:
    """Publish, sign or delete without a digest, publish something else under the same version: refused."""
    engine, other = partition(tmp_path, IMMUTABLE), digest_of("something else")
    engine.turn(record(0, chart_event("a", "1.0.0")))
    engine.turn(record(1, told(chart_event("a", "1.0.0", action=adding), None)))
    engine.turn(record(2, told(chart_event("a", "1.0.0", ident="again"), other)))
    engine.turn(record(3, chart_event("a", "1.0.0", ident="the same")))
    assert engine.outcomes() == ["accepted", "accepted", "refused", "accepted"]
    assert (engine.audit[2].rule, engine.audit[2].code) == ("same-digest", "digest.changed")


def test_an_event_of_the_same_turn_counts(tmp_path: Path) -> None:
    """A policy sees what the events before it in the chunk have made of the artifact."""
    engine = partition(tmp_path, IMMUTABLE, FORWARD)
    changed = told(chart_event("a", "1.0.0", ident="again"), digest_of("something else"))
    engine.turn(record(0, chart_event("a", "1.0.0")), record(1, changed), record(2, chart_event("a", "0.9.0")))
    assert [r.rule for r in engine.audit[1:]] == ["same-digest", "forward"]


def test_the_configuration_s_hash_tells_the_policies_apart(tmp_path: Path) -> None:
    """Two engines, one policy more in one of them: what one refuses the other takes, and each says under which hash."""
    strict, mild = partition(tmp_path / "a", FORWARD), partition(tmp_path / "b")
    for engine in (strict, mild):
        engine.turn(record(0, chart_event("a", "2.0.0")), record(1, chart_event("a", "1.0.0")))
    assert strict.outcomes() != mild.outcomes()
    assert strict.audit[0].config != mild.audit[0].config
