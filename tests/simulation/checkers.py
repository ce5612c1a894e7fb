"""What must be true at the end of every run, of the log, the state, the stores and the audit. Each is a sentence of DESIGN's guarantees."""

from __future__ import annotations

from collections import Counter

import msgspec

from streams.codec import split
from streams.events import Incoming
from streams.ingress import HEADER, Ingress
from streams.nats_streams import stream_name
from streams.topics import TABLES
from tables.audit_record import CHAIN_HEADER, CHAIN_START, AuditRecord, Outcome, chain
from tables.model import MARKER_KEY, SEP, Marker, Stamp, Version
from tests.checkers import check_first_occurrences_in_stream_order
from tests.simulation.checking import checker
from tests.simulation.committed import audit_of, heads_of, ingress_of, markers_of, table_of
from tests.simulation.model import Model
from tests.simulation.stores import MemoryStore
from tests.simulation.world import PRINCIPALS, World

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
