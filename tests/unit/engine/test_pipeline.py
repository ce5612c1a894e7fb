"""One turn: what becomes of commands, receipts and events. The store is a real one; there is no log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.pipeline import Turn
from agents.rules import Rules
from agents.sinks.base import Receipt, Result
from agents.turn import Work
from streams.commands import Command
from streams.settings import Settings
from tables.audit_record import chain
from tables.model import Head, SyncState
from tables.overlay import Overlay
from tables.store import Stores
from tests.brokers import orbit
from tests.events import FakeRecord, chart_event, record
from tests.partition import NOW_MS, Partition


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return orbit(tmp_path)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[[Settings], Partition]]:
    """Makes partitions, each with a store of its own."""
    stores = Stores(tmp_path / "stores")
    yield lambda settings: Partition(stores.open(len(stores.partitions())), settings)
    stores.close_all()


@pytest.fixture
def partition(made: Callable[[Settings], Partition], settings: Settings) -> Partition:
    return made(settings)


def command(offset: int, artifact: str, *, component: str = "") -> FakeRecord:
    value = msgspec.json.encode(Command("op1", "sync", "operator", NOW_MS, component, "because"))
    return FakeRecord(offset, artifact.encode(), value, ())


def delivered(artifact: str, component: str, head: Head, **changes: Any) -> Receipt:
    sync = head.sync[component]
    receipt = Receipt(artifact, component, sync.desired, sync.version, Result.DELIVERED, NOW_MS, covers=sync.pending)
    return msgspec.structs.replace(receipt, **changes)


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b'{"id":"x","verb":"from-the-future","principal":"p","at_ms":1}'])
def test_a_command_that_is_not_understood_costs_only_itself(partition: Partition, value: bytes) -> None:
    """A gateway may be newer than the worker: the command is audited with its digest, and those behind it are carried out."""
    partition.turn(record(0, chart_event("a", "1.0.0")))
    partition.turn(commands=[FakeRecord(0, b"chart/a", value, ()), command(1, "chart/a")])
    assert [(r.code, bool(r.digest)) for r in partition.audit[-2:]] == [("command.not_understood", True), ("sync", False)]
    assert partition.marker.commands == 2


def test_an_accepted_event_makes_the_head_and_sets_every_routed_component_behind(partition: Partition) -> None:
    """The first event of an artifact: generation 1, and each component that the routes name desires it."""
    partition.turn(record(0, chart_event("argo-cd", "1.0.0")))
    head = partition.head("chart/argo-cd")

    assert (head.version, head.generation, head.accepted) == ("1.0.0", 1, 1)
    assert {name: (sync.desired, sync.state) for name, sync in head.sync.items()} == dict.fromkeys(
        ("c8", "c12", "c20", "c28"), (1, SyncState.BEHIND)
    )
    assert partition.outcomes() == ["accepted"]


def test_a_repeated_record_is_dropped_without_a_trace(partition: Partition) -> None:
    """The same identity again (a second bridge, a restart) changes nothing and has no second audit record."""
    partition.turn(record(0, chart_event("argo-cd", "1.0.0"), sequence=7))
    outcome = partition.turn(record(1, chart_event("argo-cd", "1.0.0"), sequence=7))

    assert outcome.repeated == 1
    assert partition.head("chart/argo-cd").generation == 1
    assert partition.outcomes() == ["accepted"]
    assert partition.marker.events == 2


def test_a_large_turn_lets_others_in_between_and_is_one_turn_all_the_same(
    made: Callable[[Settings], Partition], settings: Settings
) -> None:
    """A chunk of thousands is judged a few milliseconds at a time; what it makes is what it makes at once."""
    events = [record(n, chart_event(f"a{n % 7}", f"1.0.{n}", ident=f"e{n}")) for n in range(1201)]
    at_once, in_parts = made(settings), made(settings)
    outcome = at_once.try_turn(*events)
    turn = Turn(0, in_parts.marker, in_parts.overlay, in_parts.rules, in_parts.now_ms, holds=in_parts.holds)
    assert len(list(turn.steps(Work(events=events)))) == 2
    assert turn.outcome() == outcome


def test_a_producer_that_repeats_itself_gets_duplicate(partition: Partition) -> None:
    """The same (principal, source, id) with a new identity is a duplicate, also when many versions lie between."""
    events = [chart_event("argo-cd", f"1.0.{n}") for n in range(100)]
    partition.turn(*(record(n, event) for n, event in enumerate(events)))
    partition.turn(*(record(100 + n, event) for n, event in enumerate(events)))

    assert partition.outcomes() == ["accepted"] * 100 + ["duplicate"] * 100
    assert partition.head("chart/argo-cd").generation == 100


def test_an_event_that_its_principal_may_not_publish_is_refused(partition: Partition) -> None:
    """c4 may publish images only; its chart event is refused, audited with the reason, and leaves no state."""
    partition.turn(record(0, chart_event("argo-cd", "1.0.0"), principal="c4"))

    assert [(r.outcome.value, r.code) for r in partition.audit] == [("refused", "publish.not_allowed")]
    assert partition.store.get("artifacts", b"chart/argo-cd") is None


def test_what_cannot_be_decoded_is_kept_with_its_original_bytes_and_costs_only_itself(partition: Partition) -> None:
    """Garbage between two good events: both are accepted, the garbage is in quarantine as it came."""
    partition.turn(
        record(0, chart_event("argo-cd", "1.0.0")), record(1, b"\xff not json"), record(2, chart_event("argo-cd", "1.0.1"))
    )
    (entry,) = [msgspec.json.decode(value) for _, value in partition.store.scan("quarantine")]

    assert partition.outcomes() == ["accepted", "quarantined", "accepted"]
    assert entry["body_base64"] == "/yBub3QganNvbg=="
    assert entry["reason"] == "json.invalid"


def test_a_record_whose_key_is_not_its_artifacts_is_quarantined(partition: Partition) -> None:
    """One artifact has one writer: an event in a partition that is not its artifact's is not folded there."""
    partition.turn(record(0, chart_event("argo-cd", "1.0.0"), key="chart/other"))

    assert [(r.outcome.value, r.code) for r in partition.audit] == [("quarantined", "key.mismatch")]


def test_the_audit_chain_goes_on_over_turns(partition: Partition) -> None:
    """Every record's link is made from the one before, the marker carries the head, and sequence numbers have no holes."""
    for offset in range(3):
        partition.turn(record(offset * 2, chart_event("a", f"1.{offset}.0")), record(offset * 2 + 1, b"bad"))
    link = "0" * 64
    for value, expected in partition.chain:
        link = chain(link, value)
        assert expected == link

    assert partition.marker.audit_head == link
    assert [r.seq for r in partition.audit] == list(range(6))
    assert partition.marker.audit_seq == 6


def test_a_receipt_brings_the_pair_in_sync_and_is_audited_once(partition: Partition) -> None:
    """Delivered: in sync. The same receipt again: nothing."""
    partition.turn(record(0, chart_event("argo-cd", "1.0.0")))
    receipt = delivered("chart/argo-cd", "c12", partition.head("chart/argo-cd"))
    partition.turn(receipts=[receipt])
    partition.turn(receipts=[receipt])

    assert partition.head("chart/argo-cd").sync["c12"].state is SyncState.IN_SYNC
    assert partition.outcomes() == ["accepted", "delivered"]


def test_a_receipt_for_an_older_generation_does_not_bring_a_newer_one_in_sync(partition: Partition) -> None:
    """The event that came while a delivery was under way still has to be delivered; none counts as superseded by it."""
    partition.turn(record(0, chart_event("argo-cd", "1.0.0")))
    receipt = delivered("chart/argo-cd", "c12", partition.head("chart/argo-cd"))
    partition.turn(record(1, chart_event("argo-cd", "1.0.1")))
    partition.turn(receipts=[receipt])
    sync = partition.head("chart/argo-cd").sync["c12"]

    assert (sync.state, sync.delivered, sync.desired, sync.superseded) == (SyncState.BEHIND, 1, 2, 0)


def test_a_delivery_tells_how_many_generations_it_superseded(partition: Partition) -> None:
    """Three versions, one delivery of the last: two are superseded, and delivered + superseded is what was desired."""
    partition.turn(*(record(n, chart_event("argo-cd", f"1.0.{n}")) for n in range(3)))
    partition.turn(receipts=[delivered("chart/argo-cd", "c12", partition.head("chart/argo-cd"))])

    assert partition.audit[-1].superseded == 2
    assert partition.head("chart/argo-cd").sync["c12"].superseded == 2


def test_newest_by_semver_ignores_an_older_version_that_comes_later(partition: Partition) -> None:
    """c28 wants the newest chart by SemVer: a late 1.2.0 after 2.0.0 changes nothing for it, but is delivered to c20."""
    partition.turn(record(0, chart_event("argo-cd", "2.0.0")), record(1, chart_event("argo-cd", "1.2.0")))
    syncs = partition.head("chart/argo-cd").sync

    assert (syncs["c28"].version, syncs["c28"].desired) == ("2.0.0", 1)
    assert (syncs["c20"].version, syncs["c20"].desired) == ("1.2.0", 2)


def test_a_deleted_newest_version_gives_way_to_the_greatest_that_is_left(partition: Partition) -> None:
    """The head forgets a deleted version as its newest."""
    partition.turn(
        record(0, chart_event("a", "1.0.0")), record(1, chart_event("a", "2.0.0")), record(2, chart_event("a", "1.5.0"))
    )
    partition.turn(record(3, chart_event("a", "2.0.0", action="deleted")))

    assert partition.head("chart/a").newest == "1.5.0"


def test_deleting_the_newest_version_moves_those_who_want_the_newest_by_semver(partition: Partition) -> None:
    """2.0.0, then a late 1.5.0, then 2.0.0 is deleted: c28 desires 1.5.0, and c12, which has it as the last accepted, stays."""
    partition.turn(record(0, chart_event("a", "2.0.0")), record(1, chart_event("a", "1.5.0")))
    partition.turn(record(2, chart_event("a", "2.0.0", action="deleted")))
    syncs = partition.head("chart/a").sync

    assert (syncs["c28"].version, syncs["c28"].desired) == ("1.5.0", 3)
    assert (syncs["c12"].version, syncs["c12"].desired) == ("1.5.0", 2)


def test_signing_an_older_version_moves_nobody_who_wants_the_last_accepted(partition: Partition) -> None:
    """2.0.0, then 1.5.0, then 2.0.0 is signed: c12 stays at 1.5.0; c28, for which 2.0.0 is newest, gets the signed one."""
    partition.turn(record(0, chart_event("a", "2.0.0")), record(1, chart_event("a", "1.5.0")))
    partition.turn(record(2, chart_event("a", "2.0.0", action="signed")))
    syncs = partition.head("chart/a").sync

    assert (syncs["c12"].version, syncs["c12"].desired) == ("1.5.0", 2)
    assert (syncs["c28"].version, syncs["c28"].desired) == ("2.0.0", 3)


def test_a_manual_sync_raises_the_generation_and_delivers_again(partition: Partition) -> None:
    """Sync now for one component: its pair is behind with a new generation, the others are as they were."""
    partition.turn(record(0, chart_event("argo-cd", "1.0.0")))
    head = partition.head("chart/argo-cd")
    partition.turn(receipts=[delivered("chart/argo-cd", name, head) for name in head.sync])
    partition.turn(commands=[command(0, "chart/argo-cd", component="c12")])
    syncs = partition.head("chart/argo-cd").sync

    assert (syncs["c12"].state, syncs["c12"].desired, syncs["c12"].command) == (SyncState.BEHIND, 2, "op1")
    assert syncs["c8"].state is SyncState.IN_SYNC
    assert partition.marker.commands == 1
    assert partition.outcomes()[-1] == "command"


def test_a_command_about_an_unknown_artifact_is_audited_and_changes_nothing(partition: Partition) -> None:
    """The operator is told through the audit that there was nothing to do."""
    partition.turn(commands=[command(0, "chart/none")])

    assert partition.audit[-1].code == "sync.nothing_to_do"
    assert partition.marker.commands == 1


def test_a_turn_that_was_given_up_leaves_nothing_behind(partition: Partition) -> None:
    """After an abort the actor ends; the next one has an overlay of its own, and starts from the store."""
    partition.turn(record(0, chart_event("argo-cd", "1.0.0")))
    partition.try_turn(record(1, chart_event("argo-cd", "1.0.1")))
    partition.overlay = Overlay(partition.store)
    partition.turn(record(1, chart_event("argo-cd", "1.0.2")))
    head = partition.head("chart/argo-cd")

    assert (head.version, head.generation) == ("1.0.2", 2)


def test_a_component_that_is_newly_routed_makes_existing_artifacts_out_of_step(partition: Partition, settings: Settings) -> None:
    """Routes change: the next turns route every head anew, the removed component ends, the new one starts behind."""
    partition.turn(record(0, chart_event("a", "1.0.0")), record(1, chart_event("b", "1.0.0")))
    routes = [{"name": "all", "match": {"artifacts": ["*"]}, "to": ["c8"], "mode": "every"}]
    changed = settings.model_dump(mode="json") | {"routes": routes}
    partition.rules = Rules(Settings.model_validate(changed))
    partition.turn()

    assert set(partition.head("chart/a").sync) == {"c8"} == set(partition.head("chart/b").sync)
    partition.rules = Rules(settings)
    partition.turn()
    head = partition.head("chart/a")
    assert head.sync["c12"].state is SyncState.BEHIND
    assert head.generation == 2
    assert partition.marker.routing == settings.routing_hash
    assert partition.marker.routing_after == ""


def test_a_component_that_reads_the_log_gets_its_record_with_the_state(
    made: Callable[[Settings], Partition], settings: Settings
) -> None:
    """A log sink is in step in the same transaction, with one record per accepted event."""
    content = settings.model_dump(mode="json")
    content["components"]["c20"]["sink"] = {"type": "log"}
    logged = made(Settings.model_validate(content))
    outcome = logged.turn(record(0, chart_event("a", "1.0.0")), record(1, chart_event("a", "1.1.0")))
    values = [msgspec.json.decode(value) for _, value, _ in outcome.sync["c20"] if value]

    assert [(value["generation"], value["version"]) for value in values] == [(1, "1.0.0"), (2, "1.1.0")]
    assert logged.head("chart/a").sync["c20"].state is SyncState.IN_SYNC


def test_a_log_component_that_wants_every_version_is_backfilled_in_order(
    made: Callable[[Settings], Partition], settings: Settings
) -> None:
    """Newly routed: one record per version in accepted order, the last under the raised generation."""
    logged = made(settings)
    logged.turn(*(record(n, chart_event("a", version)) for n, version in enumerate(("2.0.0", "1.0.0", "3.0.0"))))
    content = settings.model_dump(mode="json")
    content["components"]["c99"] = {"sink": {"type": "log"}}
    content["routes"].append({"name": "more", "match": {"artifacts": ["*"]}, "to": ["c99"], "mode": "every"})
    logged.rules = Rules(Settings.model_validate(content))
    outcome = logged.turn()
    values = [msgspec.json.decode(value) for _, value, _ in outcome.sync["c99"] if value]

    assert [(value["version"], value["generation"]) for value in values] == [("2.0.0", 1), ("1.0.0", 2), ("3.0.0", 4)]
    assert logged.head("chart/a").sync["c99"].state is SyncState.IN_SYNC


def test_a_log_component_is_told_the_version_that_takes_the_place_of_a_deleted_one(
    made: Callable[[Settings], Partition], settings: Settings
) -> None:
    """1.0.0, 2.0.0, then 2.0.0 is deleted: the record names 1.0.0, as the state does; a deletion of all names what is gone."""
    content = settings.model_dump(mode="json")
    content["components"]["c28"]["sink"] = {"type": "log"}
    logged = made(Settings.model_validate(content))
    outcome = logged.turn(
        record(0, chart_event("a", "1.0.0")),
        record(1, chart_event("a", "2.0.0")),
        record(2, chart_event("a", "2.0.0", action="deleted")),
        record(3, chart_event("a", "1.0.0", action="deleted")),
    )
    values = [msgspec.json.decode(value) for _, value, _ in outcome.sync["c28"] if value]

    assert [value["version"] for value in values] == ["1.0.0", "2.0.0", "1.0.0", "2.0.0"]
    assert logged.head("chart/a").sync["c28"].version == "2.0.0"
