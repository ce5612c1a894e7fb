"""What must hold of a log, as named checkers: pure functions from what was read to nothing, or an AssertionError that says where."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from gateway.local.process import stop_in_order
from streams.ingress import Ingress
from tables.audit_record import CHAIN_START, Outcome, chain
from tables.model import LOT_PREFIX, MARKER_KEY, SEP, Kept, Lot, Quarantined, SyncState, Version, split_key
from tests.harness import Cluster, Sent
from tests.model import Model
from tests.readings import JUDGED, Arrived, Audited, Readings, Table, arrivals, ingress_of, stored

_version = msgspec.json.Decoder(Version)
_quarantined = msgspec.json.Decoder(Quarantined)
_lot = msgspec.json.Decoder(Lot)

# -- of a log that a bridge has written --------------------------------------------------------------------------------------------


def check_first_occurrences_in_stream_order(log: Mapping[int, Iterable[Ingress]]) -> None:
    """In each partition, and for each stream, the first occurrences of identities are in stream order.

    With `check_nothing_missing` this says: repetitions only ever repeat what is there, so a reader that drops what is not beyond the
    last mark it saw of a stream drops no event.
    """
    for partition, records in log.items():
        last: dict[str, tuple[int, int, int]] = {}
        seen: set[tuple[str, tuple[int, int, int]]] = set()
        for offset, ingress in enumerate(records):
            identity = (ingress.stream, ingress.mark)
            if identity in seen:
                continue
            before = last.get(ingress.stream)
            assert before is None or before < ingress.mark, (
                f"partition {partition}, record {offset}: {ingress.stream} {ingress.mark} appears first after {before}"
            )
            seen.add(identity)
            last[ingress.stream] = ingress.mark


def check_nothing_missing(log: Mapping[int, Iterable[Ingress]], stream: str, incarnation: int, sequences: Iterable[int]) -> None:
    """Over all partitions, the log has exactly these sequences of the stream's incarnation, in whatever number of copies."""
    found = {
        ingress.sequence
        for records in log.values()
        for ingress in records
        if (ingress.stream, ingress.incarnation) == (stream, incarnation)
    }
    wanted = set(sequences)
    missing, surplus = sorted(wanted - found), sorted(found - wanted)
    assert not missing, f"{stream} {incarnation}: {len(missing)} sequences are missing, the first {missing[:5]}"
    assert not surplus, f"{stream} {incarnation}: {len(surplus)} sequences were never published, the first {surplus[:5]}"


# -- of a whole cluster that has settled -------------------------------------------------------------------------------------------


async def check_everything(cluster: Cluster, sent: Iterable[Sent], *, replay: bool = True, late_max: int = 0) -> None:
    """Every checker below, over a cluster that has settled. Stops its workers, to look into their stores.

    Without `replay` nothing is compared with the model: it needs all of the input as it stood in the log when it was judged.
    `late_max`: see `check_order_at_component`.
    """
    await asyncio.to_thread(stop_in_order, [cluster.workers], 10)
    readings = cluster.readings
    await readings.update()
    log = {partition: [ingress_of(record) for record in records] for partition, records in readings.events.items()}
    check_first_occurrences_in_stream_order(log)
    check_no_loss(sent, readings)
    check_no_double_count(readings)
    check_chain_unbroken(readings)
    if replay:
        check_audit_ids_stand_once(readings)
        model = Model(cluster.settings).replay(readings)
        check_state_equals_model(readings, model)
        check_quarantine_complete(readings, model)
        check_log_outputs(readings, model)
    held = {name: arrivals(cluster.component_directory(name)) for name in cluster.components}
    for updates in held.values():
        check_order_at_component(updates, late_max=late_max)
    check_outputs_as_state_says(readings, held)
    stores = [stored(cluster.store_directory(number), readings.partitions) for number in range(len(cluster.workers))]
    check_changelog_equals_rocksdb(readings, stores)


def check_no_loss(sent: Iterable[Sent], readings: Readings) -> None:
    """Every message that JetStream acknowledged has an outcome in the audit."""
    judged = {(i.stream, i.sequence) for i in map(_ingress, _judged(readings))}
    lost = [each.at for each in sent if (each.at.stream, each.at.sequence) not in judged]
    assert not lost, f"{len(lost)} acknowledged messages have no outcome, the first {lost[:3]}"


def check_no_double_count(readings: Readings) -> None:
    """Each event has one outcome when it comes, and one more when it leaves quarantine; heads count what was accepted; turns follow."""
    arrived = Counter(_ingress(entry) for entry in _judged(readings) if not entry.record.id.startswith("release-"))
    decided = Counter(_ingress(entry) for entry in _judged(readings) if entry.record.outcome is not Outcome.QUARANTINED)
    twice = [identity for outcomes in (arrived, decided) for identity, count in outcomes.items() if count > 1]
    assert not twice, f"{len(twice)} events were judged more than once, the first {twice[:3]}"
    accepted = Counter(entry.record.artifact for entry in readings.audited() if entry.record.outcome is Outcome.ACCEPTED)
    counted = Counter({key: head.accepted for key, head in readings.heads().items()})
    assert accepted == counted, f"heads and audit count differently: {_differing(accepted, counted)}"
    for partition, markers in readings.markers.items():
        turns = [marker.turn for marker in markers]
        assert turns == list(range(1, len(turns) + 1)), f"partition {partition}: turns do not follow each other: {_breaks(turns)}"


def check_audit_ids_stand_once(readings: Readings) -> None:
    """No two records have the same id. Ids are made from log positions, so this holds as long as the log keeps what it had."""
    ids = Counter(entry.record.id for entry in readings.audited())
    assert len(ids) == ids.total(), f"audit ids stand twice: {[i for i, count in ids.items() if count > 1][:3]}"


def check_chain_unbroken(readings: Readings) -> None:
    """Per partition, over the bytes as stored: each link follows from the one before, numbers have no holes, the marker holds the end."""
    for partition, entries in readings.audit.items():
        head = CHAIN_START
        for number, entry in enumerate(entries):
            assert entry.record.seq == number, f"partition {partition}: record {entry.record.seq} stands at place {number}"
            head = chain(head, entry.value)
            assert entry.link == head, f"partition {partition}: the link of record {number} does not follow from those before"
        marker = readings.marker(partition)
        found = (marker.audit_seq, marker.audit_head or CHAIN_START)
        assert found == (len(entries), head), f"partition {partition}: the marker's chain ends elsewhere"


def check_state_equals_model(readings: Readings, model: Model) -> None:
    """Heads, versions, marks, and the outcome of each event are what a simple replay of the input gives."""
    heads = readings.heads()
    assert heads.keys() == model.artifacts.keys()
    versions = {
        split_key(key): _version.decode(raw)
        for table in readings.tables["versions"].values()
        for key, raw in table.items()
        if key != MARKER_KEY
    }
    for key, expected in model.artifacts.items():
        head = heads[key]
        found = (head.version, head.digest, head.action.value, head.generation, head.accepted, head.newest)
        wanted = (expected.version, expected.digest, expected.action, expected.generation, expected.accepted, expected.newest)
        assert found == wanted, f"{key}: state {found}, model {wanted}"
        desired = {name: (sync.desired, sync.version) for name, sync in head.sync.items()}
        assert desired == {name: (pair.desired, pair.version) for name, pair in expected.sync.items()}, key
        for name, wanted_version in expected.versions.items():
            entry = versions.pop((key, name))
            assert (entry.generation, entry.digest, entry.action.value) == wanted_version, f"{key} {name}"
            assert bytes(entry.body) == expected.bodies[name], f"{key} {name}: not the body that was accepted"
    assert not versions, f"versions that no event made: {list(versions)[:3]}"
    for partition, marks in model.marks.items():
        assert {stream: tuple(mark) for stream, mark in readings.marker(partition).marks.items()} == marks, (
            f"partition {partition}"
        )
    judged = {entry.record.id: (entry.record.outcome.value, entry.record.generation) for entry in _judged(readings)}
    expected_outcomes = {verdict.id: (verdict.outcome, verdict.generation) for verdict in model.verdicts}
    assert judged == expected_outcomes, f"outcomes differ: {_differing(judged, expected_outcomes)}"


def check_quarantine_complete(readings: Readings, model: Model) -> None:
    """The table holds each message that is no event, is parked or waits, with the bytes as they came, and nothing else.

    Lots and the marker's counts say of it what it holds.
    """
    for partition in readings.partitions:
        table = readings.tables["quarantine"][partition]
        entries = {split_key(key): _quarantined.decode(raw) for key, raw in table.items() if not key.startswith(SEP)}
        waiting = [(artifact, entry) for (artifact, _), entry in entries.items() if entry.kept is not Kept.MALFORMED]
        lots = {key[len(LOT_PREFIX) :].decode(): _lot.decode(raw) for key, raw in table.items() if key.startswith(LOT_PREFIX)}
        parked = {artifact: lot.queued + bool(lot.front) for artifact, lot in lots.items() if lot.is_parked}
        assert Counter(artifact for artifact, _ in waiting) == parked, f"partition {partition}: lots say {parked}"
        marker = readings.marker(partition)
        assert marker.quarantined == Counter(f"{entry.reason} {entry.rule}" for entry in entries.values()), (
            f"partition {partition}"
        )
        assert marker.parked.artifacts == len(parked), f"partition {partition}"
    found = {
        entry.ingress: base64.b64decode(entry.body_base64)
        for table in readings.tables["quarantine"].values()
        for entry in (_quarantined.decode(raw) for key, raw in table.items() if not key.startswith(SEP))
    }
    assert found == model.quarantined, f"quarantine differs: {_differing(found, model.quarantined)}"


def check_order_at_component(
    held: Iterable[Arrived], *, late_max: int = 0, versions: Mapping[str, list[str]] | None = None
) -> None:
    """Per artifact, generations arrive first in rising order; with `versions`, each of these arrives, in that order.

    `late_max`: a delivery that a worker has begun when it is paused may arrive after the new owner's. Nobody but the component can
    tell, by the generation; so that many may be late.
    """
    last: dict[str, Arrived] = {}
    order: defaultdict[str, list[str]] = defaultdict(list)
    late: list[tuple[Arrived, Arrived]] = []
    for update in held:
        before = last.get(update.artifact)
        if before is not None and before.generation > update.generation:
            late.append((update, before))
        else:
            last[update.artifact] = update
        order[update.artifact].append(update.version)
    if late:
        print(f"{len(late)} of at most {late_max} deliveries came late")
    assert len(late) <= late_max, (
        f"{len(late)} came late, at most {late_max} may; the first: {late[0][0]} came after {late[0][1]}"
    )
    for artifact, wanted in (versions or {}).items():
        assert order[artifact] == wanted, f"{artifact}: {_breaks(order[artifact])}"


def check_outputs_as_state_says(readings: Readings, held: Mapping[str, list[Arrived]]) -> None:
    """Every pair is in sync, its component holds that version and digest, and the audit tells of no delivery that did not arrive."""
    heads = readings.heads()
    digests = {
        split_key(key): _version.decode(raw).digest
        for table in readings.tables["versions"].values()
        for key, raw in table.items()
        if key != MARKER_KEY
    }
    delivered = Counter(
        (entry.record.component, entry.record.artifact, entry.record.generation)
        for entry in readings.audited()
        if entry.record.outcome is Outcome.DELIVERED
    )
    assert not [pair for pair, count in delivered.items() if count > 1], "a generation was delivered twice, says the audit"
    for component, updates in held.items():
        newest = {update.artifact: update for update in sorted(updates, key=lambda update: update.generation)}
        for key, head in heads.items():
            if component not in head.sync:
                assert key not in newest, f"{component} holds {key}, which is not for it"
                continue
            sync = head.sync[component]
            assert (sync.state, sync.delivered, sync.pending) == (SyncState.IN_SYNC, sync.desired, 0), (
                f"{key} {component}: {sync}"
            )
            update = newest[key]
            wanted = (sync.desired, sync.version, digests[key, sync.version])
            assert (update.generation, update.version, update.digest) == wanted, f"{component}: {update}, wanted {wanted}"
        arrived = {(component, update.artifact, update.generation) for update in updates}
        invented = {pair for pair in delivered if pair[0] == component} - arrived
        assert not invented, f"delivered, says the audit, but {component} never got {sorted(invented)[:3]}"


def check_log_outputs(readings: Readings, model: Model) -> None:
    """[sync.<component>] has one record for each change of what the component's pairs desire, in order per artifact, and no other."""
    for component, topic in readings.sync.items():
        found: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        for records in topic.values():
            for record in records:
                value = json.loads(record.value)
                found[value["artifact"]].append((value["generation"], value["version"]))
        expected: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        for key, generation, version in model.log.get(component, []):
            expected[key].append((generation, version))
        assert found == expected, f"[sync.{component}] differs: {_differing(found, expected)}"


def check_changelog_equals_rocksdb(readings: Readings, workers: Iterable[Mapping[int, Mapping[str, Table]]]) -> None:
    """For every partition at least one stopped worker's store is byte for byte what the changelogs say."""
    workers = list(workers)
    for partition in readings.partitions:
        expected = {table: readings.tables[table][partition] for table in readings.tables}
        found = [stores[partition] for stores in workers if partition in stores]
        assert expected in found, f"partition {partition}: {[_differing_tables(store, expected) for store in found]}"


def _judged(readings: Readings) -> Iterable[Audited]:
    return (entry for entry in readings.audited() if entry.record.outcome in JUDGED)


def _ingress(entry: Audited) -> Ingress:
    return Ingress.decode(entry.record.ingress.encode())


def _differing(found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> str:
    keys = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
    return f"{len(keys)} differ: " + "; ".join(f"{key}: {found.get(key)} for {expected.get(key)}" for key in sorted(keys)[:3])


def _differing_tables(found: Mapping[str, Table], expected: Mapping[str, Table]) -> str:
    return "; ".join(
        f"{table} {_differing(found[table], expected[table])}" for table in expected if found[table] != expected[table]
    )


def _breaks(values: Sequence[Any]) -> str:
    """Where a sequence stops to rise, with what is around it."""
    places = [
        index for index, (one, two) in enumerate(pairwise(values)) if two <= one or (isinstance(one, int) and two != one + 1)
    ]
    return f"{len(values)} values" + (f", at {places[0]}: {values[max(places[0] - 2, 0) : places[0] + 3]}" if places else "")
