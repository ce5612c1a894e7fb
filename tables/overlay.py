"""A partition's state as the turn in work sees it: the committed store below, what the turn changed above.

Heads are cached decoded, across turns, because their partition has one writer. They are changed in place; so an overlay whose turn was
given up is of no more use: the next actor of the partition makes a new one.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from streams.record_batch import Record
from tables.model import Head, Quarantined, Version, quarantine_key, version_key
from tables.store import PartitionStore

_encode = msgspec.json.Encoder().encode
_head_decoder = msgspec.json.Decoder(Head)
_version_decoder = msgspec.json.Decoder(Version)

HEADS_CACHED_MAX = 50_000


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

    def put_quarantined(self, artifact: str, ident: str, entry: Quarantined | None) -> None:
        self._quarantine[quarantine_key(artifact, ident)] = entry

    def records(self) -> dict[str, list[Record]]:
        """What the turn changed, as changelog records per table. Last write wins: the changelogs are compacted."""
        return {
            "artifacts": [(artifact.encode(), _encode(self._heads[artifact]), []) for artifact in self.changed],
            "versions": [(key, _encode(entry), []) for key, entry in self._versions.items()],
            "quarantine": [(key, None if entry is None else _encode(entry), []) for key, entry in self._quarantine.items()],
        }

    def generations(self) -> dict[bytes, int]:
        """Of the versions among the records."""
        return {key: entry.generation for key, entry in self._versions.items()}

    def committed(self) -> None:
        """The turn is in the store. The cache stays, bounded."""
        self.changed = {}
        self._versions = {}
        self._quarantine = {}
        if len(self._heads) > HEADS_CACHED_MAX:
            self._heads.clear()
