"""What must be true at the end of every run, of what components got. Each is a sentence of DESIGN's guarantees."""

from __future__ import annotations

import msgspec

from streams.holds import Holds
from tables.audit_record import AuditRecord, Outcome
from tests.simulation.checking import checker
from tests.simulation.committed import audit_of, heads_of
from tests.simulation.model import Model
from tests.simulation.stream import EPOCH_S
from tests.simulation.worker import Got
from tests.simulation.world import HeldSpan, World

# -- components ---------------------------------------------------------------------------------------------------------------------


@checker
def deliveries_and_supersessions_add_up(world: World) -> None:
    """Per pair: the audit's deliveries are what the head counts, each generation once, and with the superseded they are all that was desired."""
    for partition in world.partitions:
        told: dict[tuple[str, str], list[AuditRecord]] = {}
        desired = Model(world, partition).desired
        for record in audit_of(world, partition):
            if record.outcome is Outcome.DELIVERED:
                told.setdefault((record.artifact, record.component), []).append(record)
        for key, head in heads_of(world, partition).items():
            for component, sync in head.sync.items():
                assert sync.delivered == sync.desired, (key, component, sync)
                if component in desired:
                    ever = [generation for artifact, generation in desired[component] if artifact == key]
                    assert sync.deliveries + sync.superseded == len(ever), (key, component, sync, ever)
                if component == "logged":
                    continue
                records = told.get((key, component), [])
                generations = [record.generation for record in records]
                assert generations == sorted(set(generations)), f"{key} at {component}: {generations}"
                assert (len(records), sum(r.superseded for r in records)) == (sync.deliveries, sync.superseded), (
                    key,
                    component,
                    sync,
                )


@checker
def components_that_read_the_log_find_each_generation_once(world: World) -> None:
    """[sync.logged] holds one record for every desired generation, in order, and none that was given up.

    Under a hold only the newest is written, once it is released: that the pair is in sync then says that the newest is there.
    """
    for partition in world.partitions:
        records = world.committed(world.topics.sync("logged"), partition)
        found = [(r.key.decode(), msgspec.json.decode(r.value)["generation"]) for r in records]
        desired = sorted(Model(world, partition).desired["logged"])
        assert sorted(found) == desired or (world.has_holds and set(found) < set(desired)), f"partition {partition}"
        for key in {key: None for key, _ in found}:
            generations = [generation for artifact, generation in found if artifact == key]
            assert generations == sorted(set(generations)), (key, generations)
            assert generations[-1] == heads_of(world, partition)[key].sync["logged"].delivered


@checker
def each_artifact_arrives_in_order(world: World) -> None:
    """From the partition's owner a component gets an artifact's generations in order; what comes again has been there before.

    In mode `every` a version may come again under its own generation, after it has stood for a newer one (a manual sync) whose receipt
    was lost: the same content, so nothing goes back.
    """
    for component in world.components.values():
        newest: dict[str, Got] = {}
        seen: set[tuple[str, int]] = set()
        for got in component.got:
            known = (got.artifact, got.generation) in seen
            seen.add((got.artifact, got.generation))
            if not got.by_owner or known or world.log_has_lost:
                continue
            before = newest.get(got.artifact)
            again = before is not None and component.name == "every" and got.version == before.version
            assert before is None or again or got.generation > before.generation, f"{component.name}: {got} after {before}"
            newest[got.artifact] = before if again and before is not None and before.generation > got.generation else got


@checker
def components_hold_what_the_state_says(world: World) -> None:
    """The newest generation that a component has got is the desired one, with its version; mode `every` has got every version."""
    for partition in world.partitions:
        model = Model(world, partition)
        for key, head in heads_of(world, partition).items():
            for name, sync in head.sync.items():
                got = [g for g in world.components[name].got if g.artifact == key]
                if name == "logged":
                    continue
                assert got, f"{name} never got {key}"
                if world.log_has_lost:  # generations that were lost are given again
                    assert got[-1].version == sync.version, f"{name}: {key}: {got[-1]}, {sync}"
                else:
                    newest = max(got, key=lambda g: g.generation)
                    assert (newest.generation, newest.version) == (sync.desired, sync.version), f"{name}: {key}: {newest}, {sync}"
                if name == "every":
                    missing = model.artifacts[key].versions.keys() - {g.version for g in got}
                    assert not missing, f"{name} never got {key} {missing}"


# -- holds --------------------------------------------------------------------------------------------------------------------------


@checker
def nothing_begins_under_a_hold(world: World) -> None:
    """From a second after a hold could be read until its release nothing that it stops begins, on any worker, however long that slept."""
    for span in world.held:
        stops = Holds([span.hold]).blocks
        for name, component in world.components.items():
            late = [(at_s, key) for at_s, key in component.begun if _is_within(at_s, span) and stops(key, name)]
            assert not late, f"{name}: {late} began under {span.hold}, in effect from {span.from_s} to {span.until_s}"
        for partition in world.partitions:
            for record in world.committed(world.topics.sync("logged"), partition):
                at_s = record.timestamp / 1000 - EPOCH_S
                assert not (_is_within(at_s, span) and stops(record.key.decode(), "logged")), (
                    f"[sync.logged] of {record.key.decode()} at {at_s} under {span.hold}, {span.from_s} to {span.until_s}"
                )


def _is_within(at_s: float, span: HeldSpan) -> bool:
    return span.from_s + 1.0 < at_s < span.until_s
