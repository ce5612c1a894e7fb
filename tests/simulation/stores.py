"""A partition's store without RocksDB: the real keys, prefixes and index over a sorted dictionary. A disk outlives its process."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from sortedcontainers import SortedDict

from tables.store import Batch, PartitionStore

#: How often a write is followed by a flush.
_FLUSHES = 0.15


class _Changes:
    """rocksdict's WriteBatch."""

    def __init__(self) -> None:
        self.items: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.items.append((key, value))

    def delete(self, key: bytes) -> None:
        self.items.append((key, None))


class MemoryDatabase:
    """Writes are atomic, in order, and in memory until a flush takes all of them to the disk: a crash takes back those since the last."""

    def __init__(self, chance: random.Random) -> None:
        self.content: SortedDict = SortedDict()
        self._chance = chance
        self._undo: list[dict[bytes, bytes | None]] = []
        self.get = self.content.get

    def write(self, changes: _Changes) -> None:
        self._undo.append({key: self.content.get(key) for key, _ in reversed(changes.items)})
        self._set(changes.items)
        if self._chance.random() < _FLUSHES:
            self.flush()

    def flush(self) -> None:
        self._undo.clear()

    def crash(self) -> None:
        while self._undo:
            self._set(list(self._undo.pop().items()))

    def property_int_value(self, _: str) -> int:
        return len(self.content)

    def _set(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        for key, value in items:
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value


class _Handle:
    """rocksdict's Rdict: what is used after its close fails."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database: MemoryDatabase | None = database
        self.get: Any = database.get
        self.write: Any = database.write
        self.property_int_value = database.property_int_value

    @property
    def content(self) -> SortedDict:
        assert self._database is not None, "the store is closed"
        return self._database.content

    def close(self) -> None:
        assert self._database is not None, "the store is closed"
        self._database.flush()
        self._database = None
        self.get = self.write = self.property_int_value = _closed


def _closed(*_: object) -> NoReturn:
    raise AssertionError("the store is closed")


class MemoryStore(PartitionStore):
    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(Path(), _Handle(database))  # type: ignore[arg-type]

    def batch(self) -> Batch:
        return Batch(_Changes())

    def _walk(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        content = self._db.content
        yield from [(key, content[key]) for key in content.irange(start, end, inclusive=(True, False))]


class MemoryStores:
    """`tables.store.Stores` over a disk: databases by partition."""

    def __init__(self, disk: dict[int, MemoryDatabase], chance: random.Random) -> None:
        self._disk = disk
        self._chance = chance
        self._open: dict[int, MemoryStore] = {}

    def __contains__(self, partition: int) -> bool:
        return partition in self._open

    def __getitem__(self, partition: int) -> MemoryStore:
        return self._open[partition]

    def partitions(self) -> list[int]:
        return sorted(self._open)

    def open(self, partition: int) -> MemoryStore:
        if partition not in self._open:
            self._open[partition] = MemoryStore(self._disk.setdefault(partition, MemoryDatabase(self._chance)))
        return self._open[partition]

    def close(self, partition: int) -> None:
        store = self._open.pop(partition, None)
        if store is not None:
            store.close()

    def drop(self, partition: int) -> None:
        self.close(partition)
        self._disk.pop(partition, None)

    def close_all(self) -> None:
        for partition in self.partitions():
            self.close(partition)
