"""Reads over the open stores of a replica: one key, or a bounded page in key order across partitions. Counts: `status.py`.

Every read looks at what has been applied, partition by partition; there is no snapshot across partitions. A list is walked in key
order, so a page that is read while the tables change neither repeats an artifact nor misses one that was there all along.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import msgspec

from streams.errors import Retriable
from streams.partition import partition_of
from tables.model import (
    PARKED_PREFIX,
    SEP,
    Head,
    Kept,
    Lot,
    Marker,
    Quarantined,
    SyncState,
    Version,
    lot_key,
    quarantine_key,
    split_key,
    version_key,
)
from tables.store import PartitionStore, Stores

Row = TypeVar("Row")

#: A page looks at this many records at most, so that a filter which matches little cannot hold the event loop.
EXAMINED_MAX = 5000

decode_head = msgspec.json.Decoder(Head).decode
_decode_version = msgspec.json.Decoder(Version).decode
_decode_quarantined = msgspec.json.Decoder(Quarantined).decode
_decode_lot = msgspec.json.Decoder(Lot).decode


class Page(msgspec.Struct, Generic[Row], frozen=True):
    """`after` is where the next page begins, None at the end. A page may hold fewer rows than asked for, even none, before it."""

    rows: list[Row]
    after: bytes | None


class Filter(msgspec.Struct, frozen=True):
    """Which artifacts a caller asks for. Empty means any."""

    kind: str = ""
    prefix: str = ""
    component: str = ""
    state: SyncState | None = None

    @property
    def prefixes(self) -> tuple[bytes, bytes]:
        return (f"{self.kind}/" if self.kind else "").encode(), self.prefix.encode()

    def admits(self, head: Head) -> bool:
        """Whether a pair of the head is for `component` and in `state`; what is not asked for does not matter."""
        if not self.component and self.state is None:
            return True
        pairs = head.sync.items()
        return any(self.component in ("", name) and self.state in (None, pair.state) for name, pair in pairs)


class ArtifactRow(msgspec.Struct, frozen=True):
    key: str
    head: Head


class QuarantineFilter(msgspec.Struct, frozen=True):
    """Which entries a caller asks for. Empty means any; `key` is what the artifact key must match, times are those of being set aside."""

    prefix: str = ""
    key: re.Pattern[str] | None = None
    principal: str = ""
    reason: str = ""
    rule: str = ""
    kept: Kept | None = None
    since_ms: int = 0
    until_ms: int = 0

    def admits_key(self, artifact: str) -> bool:
        return self.key is None or self.key.fullmatch(artifact) is not None

    def admits(self, message: Quarantined) -> bool:
        return (
            self.principal in ("", message.principal)
            and self.reason in ("", message.reason)
            and self.rule in ("", message.rule)
            and self.kept in (None, message.kept)
            and self.since_ms <= message.at_ms
            and (not self.until_ms or message.at_ms <= self.until_ms)
        )


class QuarantineRow(msgspec.Struct, frozen=True):
    artifact: str
    id: str
    message: Quarantined


class Queries:
    """The reads of a replica with `partitions` partitions. Raises Retriable while the partition of a key is not open here."""

    def __init__(self, stores: Stores, partitions: int) -> None:
        self._stores = stores
        self._partitions = partitions

    def partition(self, artifact: str) -> int:
        return partition_of(artifact.encode(), self._partitions)

    def is_open(self, partition: int) -> bool:
        return partition in self._stores

    def marker(self, partition: int) -> Marker:
        return self._stores[partition].marker() if partition in self._stores else Marker()

    def artifact(self, key: str) -> tuple[bytes, Head] | None:
        """The head as stored, and decoded."""
        raw = self._store(key).get("artifacts", key.encode())
        return None if raw is None else (raw, decode_head(raw))

    def artifacts(
        self, wanted: Filter, *, after: bytes | None, limit: int, visible: Callable[[str], bool] = lambda _: True
    ) -> Page[ArtifactRow]:
        """Those that `wanted` admits and whose key is `visible`."""
        prefix, other = sorted(wanted.prefixes, key=len, reverse=True)
        records = self._merged("artifacts", prefix, after) if prefix.startswith(other) else iter(())

        def admitted(key: bytes, value: bytes) -> ArtifactRow | None:
            if not visible(key.decode()):
                return None
            head = decode_head(value)
            return ArtifactRow(key.decode(), head) if wanted.admits(head) else None

        return _page(records, admitted, limit)

    def keys(self, prefix: str = "") -> Iterator[tuple[str, Head]]:
        """Every artifact whose key starts with `prefix`. The caller gives way to others while it walks."""
        for key, value in self._merged("artifacts", prefix.encode(), None):
            yield key.decode(), decode_head(value)

    def version(self, artifact: str, version: str) -> Version | None:
        raw = self._store(artifact).get("versions", version_key(artifact, version))
        return None if raw is None else _decode_version(raw)

    def versions(self, artifact: str, *, after: int, limit: int) -> tuple[list[tuple[str, Version]], int | None]:
        """(version, record) accepted after that generation, oldest first, and the generation to go on from."""
        rows: list[tuple[str, Version]] = []
        for examined, (generation, name) in enumerate(self._store(artifact).versions_after(artifact, after)):
            if len(rows) == limit or examined == EXAMINED_MAX:
                return rows, after
            record = self.version(artifact, name)
            if record is not None and record.generation == generation:  # else the version has moved on: listed there
                rows.append((name, record))
            after = generation
        return rows, None

    def quarantined(self, artifact: str, ident: str) -> Quarantined | None:
        raw = self._store(artifact).get("quarantine", quarantine_key(artifact, ident))
        return None if raw is None else _decode_quarantined(raw)

    def quarantine(
        self,
        wanted: QuarantineFilter,
        *,
        after: bytes | None,
        limit: int,
        visible: Callable[[str], bool] = lambda _: True,
    ) -> Page[QuarantineRow]:
        """By artifact key; of one artifact the malformed first, then what is parked, in the order in which it waits."""

        def admitted(key: bytes, value: bytes) -> QuarantineRow | None:
            artifact, ident = split_key(key)
            if not (wanted.admits_key(artifact) and visible(artifact)):
                return None
            message = _decode_quarantined(value)
            return QuarantineRow(artifact, ident, message) if wanted.admits(message) else None

        return _page(self._merged("quarantine", wanted.prefix.encode(), after), admitted, limit)

    def lot(self, artifact: str) -> Lot | None:
        """Whether the artifact is parked, and since when."""
        raw = self._store(artifact).get("quarantine", lot_key(artifact))
        return None if raw is None else _decode_lot(raw)

    def waiting_before(self, artifact: str, ident: str) -> int:
        """How many of the artifact's parked entries are before this one."""
        end = quarantine_key(artifact, ident)
        keys = (key for key, _ in self._store(artifact).scan("quarantine", prefix=quarantine_key(artifact, PARKED_PREFIX)))
        return sum(1 for _ in itertools.takewhile(lambda key: key < end, keys))

    def _store(self, artifact: str) -> PartitionStore:
        partition = self.partition(artifact)
        if partition not in self._stores:
            raise Retriable(f"partition {partition} is not open in this replica yet; try again")
        return self._stores[partition]

    def _merged(self, table: str, prefix: bytes, after: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        opened = [self._stores[partition] for partition in self._stores.partitions()]
        return heapq.merge(*(store.scan(table, prefix=prefix, after=after) for store in opened))


def _page(records: Iterable[tuple[bytes, bytes]], admitted: Callable[[bytes, bytes], Row | None], limit: int) -> Page[Row]:
    rows: list[Row] = []
    last = b""
    for examined, (key, value) in enumerate(records):
        if len(rows) == limit or examined == EXAMINED_MAX:
            return Page(rows, last)
        row = admitted(key, value)
        if row is not None:
            rows.append(row)
        last = key
    return Page(rows, None)


def index_key(artifact: str, part: str) -> bytes:
    """A place in an ordered list of (artifact, part), as a cursor holds it."""
    return artifact.encode() + SEP + part.encode()
