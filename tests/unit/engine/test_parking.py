"""Parking: what a policy quarantines, what queues behind it, and how it comes out. The store is in memory; there is no log."""

from __future__ import annotations

import base64
import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

import agents.release
from streams.ingress import HEADER
from streams.settings import Settings
from tables.model import Kept
from tests.brokers import orbit
from tests.events import FakeRecord, chart_event, encode, record
from tests.partition import Partition
from tests.simulation.stores import MemoryDatabase, MemoryStore

A, B = "chart/a", "chart/b"


def deny(name: str, source: str, action: str = "quarantine") -> dict[str, Any]:
    return {"name": name, "kind": "allow_deny", "action": action, "sources": {"deny": [source]}}


POLICIES = [deny("no-bad", "urn:bad*"), deny("no-worse", "urn:bad:worse"), deny("no-evil", "urn:evil", "refuse")]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return orbit(tmp_path, policies=POLICIES)


@pytest.fixture
def partition(settings: Settings) -> Partition:
    return Partition(MemoryStore(MemoryDatabase(random.Random(1))), settings)


class Door:
    """Makes [events] records one behind the other."""

    def __init__(self) -> None:
        self.next = 0

    def __call__(self, name: str, version: str, source: str = "urn:good", **options: Any) -> FakeRecord:
        self.next += 1
        principal = options.pop("principal", "c24")
        return record(self.next, chart_event(name, version, source=source, **options), principal=principal)

    def raw(self, key: str, body: bytes, headers: dict[str, str] | None = None) -> FakeRecord:
        self.next += 1
        made = record(self.next, body, key=key)
        return made._replace(headers=(*made.headers, *((n, v.encode()) for n, v in (headers or {}).items())))


@pytest.fixture
def door() -> Door:
    return Door()


def large(version: str, size_bytes: int) -> dict[str, Any]:
    event = chart_event("a", version)
    event["data"]["customData"]["padding"] = "x" * size_bytes
    return event


def versions(partition: Partition, artifact: str = A) -> list[str]:
    """Accepted, in order."""
    return [r.version for r in partition.audit if r.outcome.value == "accepted" and r.artifact == artifact]


def test_a_policy_parks_its_artifact_only(partition: Partition, door: Door) -> None:
    """The offender is kept with its original bytes, reason and rule; later events queue behind it; other artifacts go on."""
    good, bad = door("a", "1.0.0"), door("a", "2.0.0", "urn:bad")
    partition.turn(good, bad, door("a", "3.0.0"), door("b", "1.0.0"))

    parked, queued = partition.quarantined().values()
    assert (parked.kept, parked.rule, parked.reason) == (Kept.PARKED, "no-bad", "source.denied")
    assert base64.b64decode(parked.body_base64) == bad.value
    assert (queued.kept, queued.reason, queued.rule) == (Kept.QUEUED, "artifact.parked", "no-bad")
    assert (versions(partition), versions(partition, B)) == (["1.0.0"], ["1.0.0"])
    assert partition.outcomes() == ["accepted", "quarantined", "quarantined", "accepted"]


def test_an_artifact_that_was_never_accepted_is_parked_without_a_head(partition: Partition, door: Door) -> None:
    """Nobody who reads heads sees it, and its later events wait all the same, also after a restart."""
    partition.turn(door("a", "1.0.0", "urn:bad"))
    partition.restart()
    partition.turn(door("a", "1.1.0"))

    assert list(partition.store.scan("artifacts")) == []
    assert len(partition.waiting(A)) == 2


def test_a_release_waives_the_rule_and_drains_the_queue_in_order(partition: Partition, door: Door) -> None:
    """The released event is accepted, then what waited, in the order in which it came."""
    partition.turn(door("a", "1.0.0", "urn:bad"), door("a", "1.2.0"), door("a", "1.1.0"))
    partition.command("quarantine.release", A, partition.waiting(A)[0])

    assert versions(partition) == ["1.0.0", "1.2.0", "1.1.0"]
    assert partition.quarantined() == {}
    assert partition.overlay.lots == {}
    assert partition.head(A).generation == 3


def test_a_release_is_audited_as_an_override_of_that_rule(partition: Partition, door: Door) -> None:
    """Who, which entry, which rule, why, the digest of the bytes; what came out of it names the command."""
    bad = door("a", "1.0.0", "urn:bad")
    partition.turn(bad, door("a", "1.1.0"))
    entry = partition.waiting(A)[0]
    partition.command("quarantine.release", A, entry)
    command, first, second = partition.audit[-3:]

    assert (command.outcome.value, command.code, command.principal) == ("command", "quarantine.release", "operator")
    assert command.detail == f"{entry}; overrides no-bad (source.denied); because"
    assert command.digest == "sha256:" + hashlib.sha256(bad.value).hexdigest()
    assert command.event_id == "a-1.0.0-published"
    assert [(r.outcome.value, r.command) for r in (first, second)] == [("accepted", "op0"), ("accepted", "op0")]


def test_a_queued_event_that_breaks_a_policy_parks_in_its_turn(partition: Partition, door: Door) -> None:
    """The waiver is for the released event only: the next offender stops the queue, and what is behind it waits on."""
    partition.turn(door("a", "1.0.0", "urn:bad"), door("a", "1.1.0"), door("a", "1.2.0", "urn:bad"), door("a", "1.3.0"))
    partition.command("quarantine.release", A, partition.waiting(A)[0])

    assert versions(partition) == ["1.0.0", "1.1.0"]
    assert [e.kept for e in partition.quarantined().values()] == [Kept.PARKED, Kept.QUEUED]
    partition.command("quarantine.release", A, partition.waiting(A)[0])
    assert versions(partition) == ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]


def test_an_event_that_breaks_two_rules_needs_two_releases(partition: Partition, door: Door) -> None:
    """A release overrides one rule and nothing else, and what was overridden stays so."""
    partition.turn(door("a", "1.0.0", "urn:bad:worse"), door("a", "1.1.0"))
    partition.command("quarantine.release", A, partition.waiting(A)[0])
    parked, _ = partition.quarantined().values()
    assert (parked.rule, parked.waived, versions(partition)) == ("no-worse", ["no-bad"], [])

    partition.restart()
    partition.command("quarantine.release", A, partition.waiting(A)[0])
    assert versions(partition) == ["1.0.0", "1.1.0"]


def test_a_released_event_is_judged_by_the_configuration_in_force(partition: Partition, door: Door, tmp_path: Path) -> None:
    """A rule that was made since refuses it; what waits behind it goes on."""
    partition.turn(door("a", "1.0.0", "urn:bad"), door("a", "1.1.0"))
    changed = orbit(tmp_path, policies=[*POLICIES, deny("never", "urn:bad", "refuse")])
    partition.rules = type(partition.rules)(changed)
    partition.command("quarantine.release", A, partition.waiting(A)[0])

    assert [(r.outcome.value, r.rule) for r in partition.audit[-2:]] == [
        ("refused", "never"),
        ("accepted", "binding c24 -> role publisher-of-c24, rule 0"),
    ]
    assert versions(partition) == ["1.1.0"]


def test_a_freeze_that_is_over_does_not_stop_what_was_queued_in_it(tmp_path: Path, door: Door) -> None:
    """What comes out of quarantine is judged by the time that it is then."""
    freeze = {"name": "freeze", "kind": "freeze_window", "action": "quarantine", "cron": "0 0 1 1 *", "duration_minutes": 500_000}
    partition = Partition(MemoryStore(MemoryDatabase(random.Random(1))), orbit(tmp_path, policies=[freeze]))
    partition.turn(door("a", "1.0.0"), door("a", "1.1.0"))
    partition.now_ms += 40 * 86_400_000
    assert versions(partition) == []
    partition.command("quarantine.release", A, partition.waiting(A)[0])

    assert versions(partition) == ["1.0.0", "1.1.0"]


def test_a_discard_takes_the_entry_away_and_lets_the_queue_go_on(partition: Partition, door: Door) -> None:
    """The offender never comes in; the audit has the digest of its bytes; what waited is judged."""
    bad = door("a", "1.0.0", "urn:bad")
    partition.turn(bad, door("a", "1.1.0"))
    partition.command("quarantine.discard", A, partition.waiting(A)[0])

    assert versions(partition) == ["1.1.0"]
    assert partition.quarantined() == {}
    assert partition.audit[2].code == "quarantine.discard"
    assert partition.audit[2].digest == "sha256:" + hashlib.sha256(bad.value).hexdigest()


def test_a_queued_event_can_be_discarded_but_not_released(partition: Partition, door: Door) -> None:
    """Order holds: what waits comes out through what it waits for, or not at all."""
    partition.turn(door("a", "1.0.0", "urn:bad"), door("a", "1.1.0"), door("a", "1.2.0"))
    first, second, _ = partition.waiting(A)
    partition.command("quarantine.release", A, second)
    assert partition.audit[-1].code == "quarantine.release.waits"
    partition.command("quarantine.discard", A, second)
    partition.command("quarantine.release", A, first)

    assert versions(partition) == ["1.0.0", "1.2.0"]


@pytest.mark.parametrize("verb", ["quarantine.release", "quarantine.discard"])
def test_an_entry_that_is_gone_is_told(partition: Partition, door: Door, verb: Any) -> None:
    """Two operators at once: the second finds nothing to do, and the audit says so."""
    partition.turn(door("a", "1.0.0", "urn:bad"))
    (entry,) = partition.waiting(A)
    partition.command("quarantine.release", A, entry)
    partition.command(verb, A, entry)

    assert partition.audit[-1].code == f"{verb}.nothing_to_do"
    assert versions(partition) == ["1.0.0"]


# -- order and bounds --------------------------------------------------------------------------------------------------------------


def test_a_long_queue_is_drained_some_entries_with_each_turn(partition: Partition, door: Door, monkeypatch: Any) -> None:
    """The partition does not stand still for it, a restart goes on, and what comes meanwhile goes to the end."""
    monkeypatch.setattr(agents.release, "DRAINED_PER_TURN_MAX", 3)
    partition.turn(door("a", "1.0.0", "urn:bad"), *(door("a", f"1.{n}.0") for n in range(1, 9)))
    partition.command("quarantine.release", A, partition.waiting(A)[0])
    assert versions(partition) == ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]
    assert partition.marker.parked.draining == 1

    partition.restart()
    assert list(partition.overlay.draining) == [A]
    partition.turn(door("a", "1.9.0"), door("b", "1.0.0"))
    assert versions(partition)[-1] == "1.6.0"
    assert versions(partition, B) == ["1.0.0"]
    partition.turn()

    assert versions(partition) == [f"1.{n}.0" for n in range(10)]
    assert (partition.overlay.draining, partition.overlay.lots, partition.marker.parked.artifacts) == ({}, {}, 0)


def test_a_turn_drains_so_many_bytes_and_leaves_the_other_queues_to_the_next(
    partition: Partition, door: Door, monkeypatch: Any
) -> None:
    """Large events of many artifacts do not make one huge transaction; nobody is forgotten."""
    monkeypatch.setattr(agents.release, "DRAINED_BYTES_PER_TURN_MAX", 10)
    for name in ("a", "b"):
        partition.turn(door(name, "1.0.0", "urn:bad"), door(name, "1.1.0"), door(name, "1.2.0"))
    monkeypatch.setattr(agents.release, "DRAINED_PER_TURN_MAX", 2)
    for artifact in (A, B):
        partition.command("quarantine.discard", artifact, partition.waiting(artifact)[0])
    partition.turn()

    assert (versions(partition), versions(partition, B)) == (["1.1.0", "1.2.0"], ["1.1.0", "1.2.0"])
    assert partition.overlay.draining == {}


def test_a_thousand_events_queue_and_the_next_is_refused(partition: Partition, door: Door) -> None:
    """The bound counts what waits behind the offender; the reason says so, and the refused event leaves nothing."""
    partition.turn(door("a", "1.0.0", "urn:bad"), *(door("a", f"2.{n}.0") for n in range(1001)))

    assert len(partition.waiting(A)) == 1001
    assert [(r.outcome.value, r.code) for r in partition.audit[-2:]] == [
        ("quarantined", "artifact.parked"),
        ("refused", "artifact.queue_full"),
    ]


def test_a_mebibyte_queues_and_the_next_event_is_refused(partition: Partition, door: Door) -> None:
    """Large events fill the queue by their bytes; a small one that still fits is taken."""
    partition.turn(door("a", "1.0.0", "urn:bad"))
    for number in range(9):
        event = large(f"2.{number}.0", 130_000)
        partition.turn(door.raw(A, encode(event)))
    partition.turn(door("a", "3.0.0"))

    assert [r.code for r in partition.audit[-3:]] == ["artifact.parked", "artifact.queue_full", "artifact.parked"]
    assert partition.overlay.lots[A].queued_bytes <= 1 << 20


# -- identity ----------------------------------------------------------------------------------------------------------------------


def test_a_producer_that_repeats_what_waits_gets_duplicate(partition: Partition, door: Door) -> None:
    """The parked one and a queued one, again: neither takes room in the queue; nor after a restart."""
    partition.turn(door("a", "1.0.0", "urn:bad"), door("a", "1.1.0"))
    partition.turn(door("a", "1.0.0", "urn:bad"))
    partition.restart()
    partition.turn(door("a", "1.1.0"))

    assert partition.outcomes()[-2:] == ["duplicate", "duplicate"]
    assert len(partition.waiting(A)) == 2


@pytest.mark.parametrize("has_head", [True, False])
@pytest.mark.parametrize("verb", ["quarantine.release", "quarantine.discard"])
def test_what_was_released_or_discarded_does_not_come_again(partition: Partition, door: Door, verb: Any, has_head: bool) -> None:
    """A repetition by the producer is a duplicate, whether the artifact had been accepted or not, also after a restart."""
    if has_head:
        partition.turn(door("a", "0.9.0"))
    partition.turn(door("a", "1.0.0", "urn:bad"))
    partition.command(verb, A, partition.waiting(A)[0])
    partition.restart()
    partition.turn(door("a", "1.0.0", "urn:bad"))

    assert partition.outcomes()[-1] == "duplicate"
    assert partition.waiting(A) == []


def test_what_was_discarded_is_remembered_by_the_head_that_is_made_later(partition: Partition, door: Door) -> None:
    """One memory: once the artifact has a head, nothing else is kept."""
    partition.turn(door("a", "1.0.0", "urn:bad"), door("a", "1.1.0"))
    partition.command("quarantine.discard", A, partition.waiting(A)[0])
    assert partition.overlay.lots == {}
    partition.turn(door("a", "1.0.0", "urn:bad"))

    assert partition.outcomes()[-1] == "duplicate"


def test_an_event_that_may_not_be_published_takes_no_room_in_the_queue(partition: Partition, door: Door) -> None:
    """Nobody can fill the queue of somebody else's artifact."""
    partition.turn(door("a", "1.0.0", "urn:bad"), door("a", "1.1.0", principal="c4"))

    assert partition.outcomes() == ["quarantined", "refused"]
    assert len(partition.waiting(A)) == 1


# -- what is malformed --------------------------------------------------------------------------------------------------------------


def test_what_is_malformed_parks_nothing_but_itself(partition: Partition, door: Door) -> None:
    """Also under the artifact's own key: the next event of the artifact is accepted."""
    partition.turn(door.raw(A, b"garbage"), door("a", "1.0.0"))

    assert partition.outcomes() == ["quarantined", "accepted"]
    assert partition.overlay.lots == {}


def test_a_malformed_one_that_has_become_an_event_is_accepted_by_its_release(
    partition: Partition, door: Door, tmp_path: Path
) -> None:
    """Limits were raised since: it is decoded again."""
    event = encode(large("1.0.0", 400_000))
    partition.turn(door.raw(A, event))
    (entry,) = (ident for _, ident in partition.quarantined())
    limits = {"event_bytes_max": 500_000, "nats_payload_bytes_max": 600_000}
    partition.rules = type(partition.rules)(orbit(tmp_path, policies=POLICIES, limits=limits))
    partition.command("quarantine.release", A, entry)

    assert (versions(partition), partition.quarantined()) == (["1.0.0"], {})


def test_a_malformed_one_that_is_none_stays_with_the_reason(partition: Partition, door: Door) -> None:
    """Release of garbage: the entry keeps its id and its bytes, and the audit tells."""
    partition.turn(door.raw(A, b"garbage"))
    before = partition.quarantined()
    partition.command("quarantine.release", A, next(iter(before))[1])

    assert partition.quarantined() == before
    assert [r.outcome.value for r in partition.audit] == ["quarantined", "command", "quarantined"]
    partition.command("quarantine.discard", A, next(iter(before))[1])
    assert partition.quarantined() == {}


def test_a_malformed_one_that_is_released_queues_behind_what_is_parked(partition: Partition, door: Door, tmp_path: Path) -> None:
    """It comes when it is released, not when it was sent."""
    event = encode(large("1.5.0", 400_000))
    partition.turn(door.raw(A, event), door("a", "1.0.0", "urn:bad"), door("a", "1.1.0"))
    limits = {"event_bytes_max": 500_000, "nats_payload_bytes_max": 600_000}
    partition.rules = type(partition.rules)(orbit(tmp_path, policies=POLICIES, limits=limits))
    partition.command("quarantine.release", A, next(iter(partition.quarantined()))[1])
    partition.command("quarantine.release", A, partition.waiting(A)[0])

    assert versions(partition) == ["1.0.0", "1.1.0", "1.5.0"]


# -- counts ------------------------------------------------------------------------------------------------------------------------


def test_the_marker_counts_what_is_in_quarantine(partition: Partition, door: Door) -> None:
    """By reason and rule, and how many artifacts wait since when; all of it ends with the last entry."""
    partition.turn(door("a", "1.0.0", "urn:bad"), door("a", "1.1.0"), door("b", "1.0.0", "urn:bad"), door.raw(A, b"garbage"))
    assert partition.marker.quarantined == {"source.denied no-bad": 2, "artifact.parked no-bad": 1, "json.invalid decode": 1}
    assert (partition.marker.parked.artifacts, partition.marker.parked.since_ms) == (2, partition.now_ms)
    for key, ident in list(partition.quarantined()):
        partition.command("quarantine.discard", key, ident)

    assert (partition.marker.quarantined, partition.marker.parked.artifacts) == ({}, 0)


def test_headers_of_binary_mode_survive(partition: Partition, door: Door) -> None:
    """An event in binary mode is parked with its headers, and accepted from them."""
    event = chart_event("a", "1.0.0", source="urn:bad")
    headers = {f"ce-{name}": event[name] for name in ("specversion", "id", "source", "type", "subject", "time")}
    partition.turn(door.raw(A, encode(event["data"]), headers | {"content-type": "application/json"}))
    (entry,) = partition.quarantined().values()
    assert HEADER not in entry.headers
    partition.command("quarantine.release", A, partition.waiting(A)[0])

    assert versions(partition) == ["1.0.0"]
