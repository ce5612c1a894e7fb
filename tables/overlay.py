"""A partition's state as the turn in work sees it: the committed store below, what the turn changed above.

Heads are cached decoded, across turns, because their partition has one writer. They are changed in place; so an overlay whose turn was
given up is of no more use: the next actor of the partition makes a new one. Lots (artifacts that are parked) are all here, always: most
partitions have none, and an event must not cost a look into the store to learn that.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from streams.record_batch import Record
from tables.model import (
    LOT_PREFIX,
    PARKED_PREFIX,
    Head,
    Kept,
    Lot,
    ParkedCounts,
    Quarantined,
    Version,
    lot_key,
    quarantine_key,
    version_key,
)
from tables.store import PartitionStore

_encode = msgspec.json.Encoder().encode
_head_decoder = msgspec.json.Decoder(Head)
_version_decoder = msgspec.json.Decoder(Version)
_quarantined_decoder = msgspec.json.Decoder(Quarantined)
_lot_decoder = msgspec.json.Decoder(Lot)


class _Waiting(msgspec.Struct):
    """The part of an entry that tells who it is; nothing else of it is decoded."""

    kept: Kept = Kept.MALFORMED
    taken: str = ""


_waiting_decoder = msgspec.json.Decoder(_Waiting)

HEADS_CACHED_MAX = 50_000
WAITING_CACHED_MAX = 256


def decode_head(raw: bytes) -> Head:
    return _head_decoder.decode(raw)


def decode_version(raw: bytes) -> Version:
    return _version_decoder.decode(raw)


class Overlay:
    def __init__(self, store: PartitionStore) -> None:
        self._store = store
        self._heads: dict[str, Head] = {}
        self.changed: dict[str, None] = {}  # in the order of first change
        self._versions: dict[bytes, Version] = {}
        self._quarantine: dict[bytes, Quarantined | None] = {}
        self.lots: dict[str, Lot] = {
            key[len(LOT_PREFIX) :].decode(): _lot_decoder.decode(raw) for key, raw in store.scan("quarantine", prefix=LOT_PREFIX)
        }
        self.draining: dict[str, None] = {artifact: None for artifact, lot in self.lots.items() if lot.is_draining}
        self._lots_changed: dict[str, None] = {}
        self._waiting: dict[str, set[str]] = {}

    def head(self, artifact: str) -> Head | None:
        head = self._heads.get(artifact)
        if head is None:
            raw = self._store.get("artifacts", artifact.encode())
            if raw is None:
                return None
            head = self._heads[artifact] = _head_decoder.decode(raw)
        return head

    def put_head(self, artifact: str, head: Head) -> None:
        self._heads[artifact] = head
        self.changed[artifact] = None

    def heads_after(self, artifact: str) -> Iterator[str]:
        """Keys of committed heads, in order; the turn's own changes are read through `head`."""
        for key, _ in self._store.scan("artifacts", after=artifact.encode() if artifact else None):
            yield key.decode()

    def version(self, artifact: str, version: str) -> Version | None:
        return self.version_at(version_key(artifact, version))

    def version_at(self, key: bytes) -> Version | None:
        """By the table's own key: on the path of every event, which has it in hand."""
        found = self._versions.get(key)
        if found is None:
            raw = self._store.get("versions", key)
            found = None if raw is None else _version_decoder.decode(raw)
        return found

    def put_version_at(self, key: bytes, entry: Version) -> None:
        self._versions[key] = entry

    def versions(self, artifact: str) -> Iterator[tuple[str, Version]]:
        """All versions of the artifact, in no order that matters."""
        prefix = version_key(artifact, "")
        for key, raw in self._store.scan("versions", prefix=prefix):
            if key not in self._versions:
                yield key[len(prefix) :].decode(), _version_decoder.decode(raw)
        for key, entry in self._versions.items():
            if key.startswith(prefix):
                yield key[len(prefix) :].decode(), entry

    def quarantined(self, artifact: str, ident: str) -> Quarantined | None:
        key = quarantine_key(artifact, ident)
        if key in self._quarantine:
            return self._quarantine[key]
        raw = self._store.get("quarantine", key)
        return None if raw is None else _quarantined_decoder.decode(raw)

    def put_quarantined(self, artifact: str, ident: str, entry: Quarantined) -> None:
        self._quarantine[quarantine_key(artifact, ident)] = entry
        if artifact in self._waiting and entry.kept is not Kept.MALFORMED:
            self._waiting[artifact].add(entry.taken)

    def remove_quarantined(self, artifact: str, ident: str) -> Quarantined | None:
        """What was there."""
        entry = self.quarantined(artifact, ident)
        if entry is not None:
            self._quarantine[quarantine_key(artifact, ident)] = None
            if artifact in self._waiting:
                self._waiting[artifact].discard(entry.taken)
        return entry

    def waiting(self, artifact: str) -> set[str]:
        """Hashes of the events that the parked artifact's lot holds; read once, then kept up to date. Not to be changed."""
        found = self._waiting.get(artifact)
        if found is None:
            if len(self._waiting) >= WAITING_CACHED_MAX:
                self._waiting.clear()
            prefix = quarantine_key(artifact, PARKED_PREFIX)
            stored = {key: _waiting_decoder.decode(raw) for key, raw in self._store.scan("quarantine", prefix=prefix)}
            changed = {key: entry for key, entry in self._quarantine.items() if key.startswith(prefix)}
            left = [entry for entry in {**stored, **changed}.values() if entry is not None and entry.kept is not Kept.MALFORMED]
            found = self._waiting[artifact] = {entry.taken for entry in left}
        return found

    def queue(self, artifact: str) -> Iterator[tuple[str, Quarantined]]:
        """Id and entry of what waits for the artifact's front, in order. What is put meanwhile may be missing."""
        prefix = quarantine_key(artifact, PARKED_PREFIX)
        skip = len(prefix) - len(PARKED_PREFIX)
        known = {key: entry for key, entry in self._quarantine.items() if key.startswith(prefix)}
        for key, raw in self._store.scan("quarantine", prefix=prefix):
            entry = known.pop(key) if key in known else _quarantined_decoder.decode(raw)
            if entry is not None and entry.kept is Kept.QUEUED:
                yield key[skip:].decode(), entry
        for key, entry in known.items():  # of this turn: behind those of earlier ones
            if entry is not None and entry.kept is Kept.QUEUED:
                yield key[skip:].decode(), entry

    def put_lot(self, artifact: str, lot: Lot) -> None:
        """One that is not parked any more goes, unless it remembers what was discarded."""
        self._lots_changed[artifact] = None
        self.lots.pop(artifact, None)
        self.draining.pop(artifact, None)
        if not lot.is_parked:
            self._waiting.pop(artifact, None)
        if lot.is_parked or lot.discarded:
            self.lots[artifact] = lot
        if lot.is_draining:
            self.draining[artifact] = None

    def parked(self) -> ParkedCounts | None:
        """None where the turn has changed nothing about them."""
        if not self._lots_changed:
            return None
        since = [lot.since_ms for lot in self.lots.values() if lot.is_parked]
        return ParkedCounts(len(since), len(self.draining), min(since, default=0))

    def records(self) -> dict[str, list[Record]]:
        """What the turn changed, as changelog records per table. Last write wins: the changelogs are compacted."""
        return {
            "artifacts": [(artifact.encode(), _encode(self._heads[artifact]), []) for artifact in self.changed],
            "versions": [(key, _encode(entry), []) for key, entry in self._versions.items()],
            "quarantine": [
                *((key, None if entry is None else _encode(entry), []) for key, entry in self._quarantine.items()),
                *((lot_key(artifact), self._encoded_lot(artifact), []) for artifact in self._lots_changed),
            ],
        }

    def _encoded_lot(self, artifact: str) -> bytes | None:
        lot = self.lots.get(artifact)
        return None if lot is None else _encode(lot)

    def generations(self) -> dict[bytes, int]:
        """Of the versions among the records."""
        return {key: entry.generation for key, entry in self._versions.items()}

    def committed(self) -> None:
        """The turn is in the store. The cache stays, bounded: of too many heads the older half goes."""
        self.changed = {}
        self._versions = {}
        self._quarantine = {}
        self._lots_changed = {}
        if len(self._heads) > HEADS_CACHED_MAX:
            for artifact in list(islice(self._heads, len(self._heads) // 2)):
                del self._heads[artifact]
