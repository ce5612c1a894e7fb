"""What must be true at the end of every run, as named checkers over a `World`. Each is a sentence of DESIGN's guarantees.

The model of the state is computed here from the committed input alone, in the order that the committed markers record; it shares no
code with the engine but the decoder of events.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from streams.codec import decode_event, split
from streams.commands import Command
from streams.errors import Malformed
from streams.events import Action, Event, Incoming
from streams.holds import Holds
from streams.ingress import HEADER, Ingress
from streams.nats_streams import stream_name
from streams.topics import TABLES
from tables.audit_record import CHAIN_HEADER, CHAIN_START, AuditRecord, Outcome, chain
from tables.model import MARKER_KEY, SEP, Head, Marker, Stamp, Version
from tests.checkers import check_first_occurrences_in_stream_order
from tests.simulation.stores import MemoryStore
from tests.simulation.stream import EPOCH_S
from tests.simulation.worker import Got
from tests.simulation.world import PRINCIPALS, HeldSpan, World

Checker = Callable[[World], None]
CHECKERS: list[Checker] = []
#: In place of the engine's, so that queues of a few events take several turns. No fewer than the artifacts that may be parked.
DRAINED_PER_TURN_MAX = 3


def checker(function: Checker) -> Checker:
    CHECKERS.append(function)
    return function


# -- reading the log ----------------------------------------------------------------------------------------------------------------


def audit_of(world: World, partition: int) -> list[AuditRecord]:
    return [msgspec.json.decode(r.value, type=AuditRecord) for r in world.committed(world.topics.audit, partition)]


def markers_of(world: World, partition: int) -> list[Marker]:
    records = world.committed(world.topics.changelog("artifacts"), partition)
    return [msgspec.json.decode(record.value, type=Marker) for record in records if record.key == MARKER_KEY]


def table_of(world: World, table: str, partition: int, before: int | None = None) -> dict[bytes, bytes]:
    """The changelog's records below `before`, the last of each key."""
    content: dict[bytes, bytes] = {}
    for record in world.committed(world.topics.changelog(table), partition):
        if before is not None and record.offset >= before:
            break
        if record.value is None:
            content.pop(record.key, None)
        else:
            content[record.key] = record.value
    return content


def heads_of(world: World, partition: int) -> dict[str, Head]:
    content = table_of(world, "artifacts", partition)
    return {k.decode(): msgspec.json.decode(v, type=Head) for k, v in content.items() if k != MARKER_KEY}


def ingress_of(record: Any) -> Ingress:
    return Ingress.decode(dict(record.headers)[HEADER])


# -- the bridge ---------------------------------------------------------------------------------------------------------------------


@checker
def no_hole_in_the_log(world: World) -> None:
    """In each partition the first occurrences of a stream's sequences are in stream order, in whatever number of copies."""
    for partition in world.partitions:
        found, newest = [], dict[str, int]()
        for record in world.committed(world.topics.events, partition):
            ingress = ingress_of(record)
            if ingress.incarnation >= newest.get(
                ingress.stream, 0
            ):  # what a stopped bridge says of a stream that is gone is no hole
                newest[ingress.stream] = ingress.incarnation
                found.append(ingress)
        check_first_occurrences_in_stream_order({partition: found})


@checker
def nothing_is_lost_or_counted_twice(world: World) -> None:
    """Every event that JetStream has acknowledged, and not lost itself, has exactly one outcome in the audit, and nothing else has one."""
    outcomes = Counter[tuple[str, int, int, bytes]]()
    for partition in world.partitions:
        values = {dict(r.headers)[HEADER]: r.value for r in world.committed(world.topics.events, partition)}
        for record in audit_of(world, partition):
            if record.ingress and record.id.startswith("events-"):  # the rest is what became of them later
                ingress = Ingress.decode(record.ingress.encode())
                outcomes[ingress.stream, ingress.sequence, ingress.index, values[record.ingress.encode()]] += 1
    ever, lost = Counter[tuple[str, int, int, bytes]](), set[tuple[str, int, int, bytes]]()
    for name in map(stream_name, PRINCIPALS):
        ever |= Counter(_parts(world, name, world.jetstream.streams[name].ever))
        lost |= set(_parts(world, name, world.jetstream.streams[name].lost))
    missing = {part for part in ever if outcomes[part] == 0} - lost
    surplus = {part for part, count in outcomes.items() if part not in ever or (count > 1 and not world.has_lost)}
    assert not missing, f"lost: {sorted(missing)}"
    assert not surplus, f"too often: {sorted(surplus)}"


def _parts(world: World, stream: str, messages: list[tuple[int, bytes]]) -> list[tuple[str, int, int, bytes]]:
    limits = world.settings.limits
    return [
        (stream, sequence, index, part.incoming.body)
        for sequence, body in messages
        for index, part in enumerate(split(Incoming(body), limits))
    ]


# -- the state ----------------------------------------------------------------------------------------------------------------------


class _Artifact:
    def __init__(self) -> None:
        self.generation = 0
        self.version = ""
        self.accepted = 0
        self.taken: set[tuple[str, str, str]] = set()
        self.versions: dict[str, int] = {}


class _Lot:
    """What waits of one artifact: events, each with where it came from."""

    def __init__(self) -> None:
        self.front: tuple[Event, Ingress] | None = None
        self.queue: list[tuple[Event, Ingress]] = []
        self.discarded: set[tuple[str, str, str]] = set()


class Model:
    """One partition's state and outcomes, from its input."""

    def __init__(self, world: World, partition: int) -> None:
        self._world = world
        self.artifacts: dict[str, _Artifact] = {}
        self.outcomes: list[tuple[str, str, int]] = []  # id, outcome, generation
        #: Generations that each component has ever desired, for those that take the newest accepted or every version.
        self.desired: dict[str, list[tuple[str, int]]] = {"every": [], "latest": [], "logged": []}
        self.lots: dict[str, _Lot] = defaultdict(_Lot)
        self._audit = audit_of(world, partition)
        self._turn = self._released = 0
        self._marks: dict[str, Any] = {}
        self._partition = partition
        if world.log_has_lost:
            self._replay_as_judged()
        else:
            self._replay_as_committed()

    def _replay_as_committed(self) -> None:
        """In the order that the markers record."""
        events = self._world.committed(self._world.topics.events, self._partition)
        commands = self._world.committed(self._world.topics.commands, self._partition)
        before = Marker()
        for marker in markers_of(self._world, self._partition):
            self._turn, self._released = marker.turn, 0
            for record in commands[before.commands : marker.commands]:
                command = msgspec.json.decode(record.value, type=Command)
                ident, key = f"commands-{self._partition}-{record.offset}", record.key.decode()
                if command.verb == "sync":
                    self._command(ident, key, command.component)
                else:
                    self._decide(ident, self.lots[key], command)
            self._drain()
            goes_back = marker.events < before.events  # what was taken before has no effect
            for record in events[0 if goes_back else before.events : marker.events]:
                self._event(f"events-{self._partition}-{record.offset}", record)
            before = marker

    def _replay_as_judged(self) -> None:
        """A log that lost its tail may have its records in another order now than when they were judged. The audit has that order."""
        events = {dict(r.headers)[HEADER].decode(): r for r in self._world.committed(self._world.topics.events, self._partition)}
        for told in audit_of(self._world, self._partition):
            if told.outcome is Outcome.COMMAND:
                self._command(told.id, told.artifact, told.component)
            elif told.ingress:
                self._event(told.id, events[told.ingress])

    def _command(self, ident: str, key: str, component: str) -> None:
        artifact = self.artifacts.get(key)
        if artifact is not None:
            artifact.generation += 1
            for commanded in self.desired.keys() & ({component} if component else self.desired.keys()):
                self.desired[commanded].append((key, artifact.generation))
        self.outcomes.append((ident, "command", artifact.generation if artifact else 0))

    def _decide(self, ident: str, lot: _Lot, command: Command) -> None:
        """The entry is known by its number in the audit. Whatever is released was parked by the one policy there is."""
        self.outcomes.append((ident, "command", 0))
        told = Ingress.decode(self._audit[int(command.subject.rpartition("-")[2])].ingress.encode())
        found = next((each for each in [lot.front, *lot.queue] if each is not None and each[1] == told), None)
        if found is None or (found is not lot.front and command.verb == "quarantine.release"):
            return
        if found is lot.front:
            lot.front = None
        else:
            lot.queue.remove(found)
        if command.verb == "quarantine.discard":
            lot.discarded.add(_name(*found))
        else:
            self._again(found, waived=True)

    def _drain(self) -> None:
        draining = [lot for _, lot in sorted(self.lots.items()) if lot.front is None and lot.queue]
        for lot in draining:
            for _ in range(min(len(lot.queue), DRAINED_PER_TURN_MAX // len(draining))):
                if lot.front is None:
                    self._again(lot.queue.pop(0), waived=False)

    def _again(self, waiting: tuple[Event, Ingress], *, waived: bool) -> None:
        outcome = self._judged(*waiting, waits=False, waived=waived)
        self.outcomes.append((f"release-{self._partition}-{self._turn}-{self._released}", *outcome))
        self._released += 1

    def _event(self, ident: str, record: Any) -> None:
        ingress = ingress_of(record)
        if ingress.mark <= self._marks.get(ingress.stream, (0, 0, 0)):
            return
        self._marks[ingress.stream] = ingress.mark
        headers = {name: value.decode() for name, value in record.headers if name != HEADER}
        try:
            event = decode_event(Incoming(record.value, headers), self._world.settings.limits)
        except Malformed:
            self.outcomes.append((ident, "quarantined", 0))
            return
        self.outcomes.append((ident, *self._judged(event, ingress)))

    def _judged(self, event: Event, ingress: Ingress, *, waits: bool = True, waived: bool = False) -> tuple[str, int]:
        key, artifact = event.artifact.key, self.artifacts.get(event.artifact.key)
        name, lot = _name(event, ingress), self.lots[key]
        if (artifact is not None and name in artifact.taken) or name in lot.discarded:
            return "duplicate", 0
        if ingress.principal == "c4" and key != "chart/shared":
            return "refused", 0
        if waits and (lot.front is not None or lot.queue):
            if name in {_name(*each) for each in [lot.front, *lot.queue] if each is not None}:
                return "duplicate", 0
            lot.queue.append((event, ingress))
            return "quarantined", 0
        if self._world.settings.policies and event.source == "urn:parked" and not waived:
            lot.front = (event, ingress)
            return "quarantined", 0
        artifact = self.artifacts.setdefault(key, _Artifact())
        artifact.generation += 1
        artifact.accepted += 1
        artifact.taken.add(name)
        artifact.versions[event.artifact.version] = artifact.generation
        if event.artifact.action is not Action.DELETED or artifact.version in {"", event.artifact.version}:
            artifact.version = event.artifact.version
        leads = event.artifact.action is not Action.DELETED or artifact.version == event.artifact.version
        for component, desired in self.desired.items():
            if leads or component == "every":
                desired.append((key, artifact.generation))
        return "accepted", artifact.generation


def _name(event: Event, ingress: Ingress) -> tuple[str, str, str]:
    return ingress.principal, event.source, event.id


@checker
def the_state_is_what_the_input_says(world: World) -> None:
    """Heads and versions equal a model of the committed input: nothing is missing, nothing counts twice, nothing comes from elsewhere."""
    for partition in world.partitions:
        model, heads = Model(world, partition), heads_of(world, partition)
        found = {key: (head.generation, head.version, head.accepted) for key, head in heads.items()}
        wanted = {key: (a.generation, a.version, a.accepted) for key, a in model.artifacts.items()}
        assert found == wanted, f"partition {partition}: found {found}, the input says {wanted}"
        versions = table_of(world, "versions", partition)
        there = {k.decode().split("\0")[1]: None for k in versions if k != MARKER_KEY}
        for key, artifact in model.artifacts.items():
            for version, generation in artifact.versions.items():
                raw = versions[f"{key}\0{version}".encode()]
                assert msgspec.json.decode(raw, type=Version).generation == generation, (key, version)
                there.pop(version, None)
        assert not there, f"partition {partition}: versions that nobody published: {list(there)}"


@checker
def every_turn_follows_the_one_before(world: World) -> None:
    """One writer: committed markers count their turns without a fork."""
    for partition in world.partitions:
        markers = markers_of(world, partition)
        assert [marker.turn for marker in markers] == list(range(1, len(markers) + 1)), f"partition {partition}"


@checker
def each_command_is_carried_out_once(world: World) -> None:
    """Every record of [commands] is in the audit, once, also where the topic had to be read again."""
    for partition in world.partitions:
        offsets = [record.offset for record in world.committed(world.topics.commands, partition)]
        markers = markers_of(world, partition)
        assert not offsets or markers[-1].commands > offsets[-1], f"partition {partition}: not all commands are taken"
        given = Counter(msgspec.json.decode(r.value)["id"] for r in world.committed(world.topics.commands, partition))
        told = Counter(record.command for record in audit_of(world, partition) if record.outcome is Outcome.COMMAND)
        twice = {ident for ident, count in told.items() if count > given[ident] and not (world.log_has_lost and count == 1)}
        assert not twice, f"partition {partition}: carried out more than once: {twice}"
        assert not given - told, f"partition {partition}: never carried out: {given - told}"


@checker
def every_store_is_a_cache_of_the_changelogs(world: World) -> None:
    """Whatever disk, of whichever worker: each table holds exactly what its changelog says below the offset that is beside it."""
    for number, disk in world.disks.items():
        for partition, database in disk.items():
            if world.log_has_lost and world.owner(partition) is not world.workers[number]:
                continue  # it has not seen the log since, and need not know
            store = MemoryStore(database)
            for table in TABLES:
                found = dict(store.scan(table)) | dict(store.scan(table, prefix=SEP))  # reserved keys too
                wanted = table_of(world, table, partition, store.offset(table))
                assert found == wanted, (
                    f"worker {number}, partition {partition}, {table} at {store.offset(table)}: {_difference(found, wanted)}"
                )


@checker
def the_owners_store_is_complete(world: World) -> None:
    """The one who serves a partition has all of it, and its three tables are of one turn."""
    for partition in world.partitions:
        owner = world.owner(partition)
        assert owner is not None
        store, last = owner.stores[partition], markers_of(world, partition)[-1:]
        assert [store.marker()] == (last or [Marker()]), f"partition {partition}"
        assert store.is_consistent(), f"partition {partition}"
        for table, turn in (("versions", store.marker().versions_turn), ("quarantine", store.marker().quarantine_turn)):
            stamp = table_of(world, table, partition).get(MARKER_KEY)
            assert (msgspec.json.decode(stamp, type=Stamp).turn if stamp else 0) == turn, f"partition {partition}: {table}"


def _difference(found: dict[bytes, bytes], wanted: dict[bytes, bytes]) -> str:
    keys = {key: None for key in (*found, *wanted) if found.get(key) != wanted.get(key)}
    return "; ".join(f"{key!r}: found {found.get(key)!r}, the changelog says {wanted.get(key)!r}" for key in keys)[:2000]


# -- the audit ----------------------------------------------------------------------------------------------------------------------


@checker
def the_audit_chain_is_unbroken(world: World) -> None:
    """Per partition: every link is made of the one before, sequence numbers have no holes, and the marker holds the last link."""
    for partition in world.partitions:
        link, records = CHAIN_START, world.committed(world.topics.audit, partition)
        for number, record in enumerate(records):
            link = chain(link, record.value)
            assert dict(record.headers)[CHAIN_HEADER].decode() == link, f"partition {partition}, record {number}"
            assert msgspec.json.decode(record.value, type=AuditRecord).seq == number, f"partition {partition}, record {number}"
        last = markers_of(world, partition)[-1:] or [Marker()]
        assert (last[0].audit_seq, last[0].audit_head or CHAIN_START) == (len(records), link), f"partition {partition}"


@checker
def the_audit_tells_every_outcome(world: World) -> None:
    """Accepted, refused, quarantined, duplicate, command: in the input's order, each with the generation that it made."""
    for partition in world.partitions:
        deliveries = {Outcome.DELIVERED, Outcome.FAILED}
        told = [(r.id, r.outcome.value, r.generation) for r in audit_of(world, partition) if r.outcome not in deliveries]
        assert told == Model(world, partition).outcomes, f"partition {partition}"


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
