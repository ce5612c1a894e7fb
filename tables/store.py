"""One RocksDB per partition, holding its three tables. The only file that imports rocksdict. What the bytes mean: `model.py`.

A store is a cache of the changelogs: deleting it loses nothing. Invariants:

* One `Batch` is one RocksDB WriteBatch: the records of a transaction and the changelog offsets they came from are there together
  or not at all, for all three tables at once. That is why the tables share a database and are told apart by a prefix byte.
* `offset(table)` is the next changelog offset to apply. Everything below it has been applied; nothing at or above it has. Beside it is the
  `fingerprint` of the last record applied, by which a changelog that lost its tail and has grown again is known.
* There is no write-ahead log: a memtable is flushed whole, records and offsets together, so after a crash the store is what it was
  at some earlier commit, and the rest is read from the changelogs again: at most the memtables of the partition.
* A database is opened when its partition is assigned, closed by `close`, never by the garbage collector, and never for a
  partition that is not assigned here.

Beside the tables there is one derived index, (artifact, generation) -> version, for components that want every version in order.
It is in no changelog; it is made again from the records as they are applied. An entry may be stale (the version has moved to a
later generation), so readers compare.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import msgspec
from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from streams.errors import Fatal
from streams.topics import TABLES
from tables.fingerprint import Fingerprint
from tables.model import MARKER_KEY, SEP, Marker, Stamp

T = TypeVar("T")

_PREFIX = {"artifacts": b"a", "versions": b"v", "quarantine": b"q"}
_INDEX = b"g"
#: Reserved keys begin with NUL: they are before it.
_FIRST = b"\x01"
_OFFSET = {table: b"m" + table.encode() for table in TABLES}
_LAST = {table: b"l" + table.encode() for table in TABLES}
_U64 = struct.Struct(">Q")
_marker_decoder = msgspec.json.Decoder(Marker)
_stamp_decoder = msgspec.json.Decoder(Stamp)


class _Generation(msgspec.Struct):
    generation: int


_GENERATION_FIRST = b'{"generation":'
_generation_decoder = msgspec.json.Decoder(_Generation)


class Batch:
    """Changes that become visible together. Keys and values are exactly the changelog's bytes; None is a tombstone."""

    def __init__(self, batch: Any = None) -> None:
        self._batch = WriteBatch(raw_mode=True) if batch is None else batch

    def apply(self, table: str, key: bytes, value: bytes | None, generation: int | None = None) -> None:
        """`generation` of a version, where whoever made it still knows; otherwise it is read from the value."""
        if value is None:
            self._batch.delete(_PREFIX[table] + key)
            return
        self._batch.put(_PREFIX[table] + key, value)
        if table == "versions" and key != MARKER_KEY:
            artifact, _, version = key.partition(SEP)
            if generation is None:
                generation = _generation_of(value)
            self._batch.put(_INDEX + artifact + SEP + _U64.pack(generation), version)

    def set_offset(self, table: str, next_offset: int, last: Fingerprint | None = None) -> None:
        """`last` is of the last record below `next_offset`; without one, the store is known by an earlier record."""
        self._batch.put(_OFFSET[table], _U64.pack(next_offset))
        if last is not None:
            self._batch.put(_LAST[table], last.encode())


def _generation_of(version: bytes) -> int:
    """It stands first in what SyncMaster writes, and the event that follows it need not be read."""
    begin = len(_GENERATION_FIRST)
    if version.startswith(_GENERATION_FIRST) and (digits := version[begin : version.find(b",", begin, begin + 20)]).isdigit():
        return int(digits)
    return _generation_decoder.decode(version).generation


class PartitionStore:
    """The tables of one partition."""

    def __init__(self, path: Path, db: Rdict) -> None:
        self.path = path
        self._db: Any = db
        self._readers: WeakSet[Generator[Any]] = WeakSet()

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._db.get(_PREFIX[table] + key)

    def batch(self) -> Batch:
        """An empty batch for `write`."""
        return Batch()

    def scan(self, table: str, *, prefix: bytes = b"", after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Records whose key starts with `prefix` and is greater than `after`, in key order; reserved keys only where `prefix` is one."""
        space = _PREFIX[table]
        start = space + max(after or b"", prefix or _FIRST)
        return self._reading(self._range(start, space + prefix, len(space), skip=None if after is None else space + after))

    def versions_after(self, artifact: str, generation: int) -> Iterator[tuple[int, str]]:
        """(generation, version) of the artifact's versions accepted after `generation`, oldest first. Entries may be stale."""
        prefix = _INDEX + artifact.encode() + SEP
        found = self._range(prefix + _U64.pack(generation + 1), prefix, len(prefix), skip=None)
        return self._reading((_U64.unpack(key)[0], value.decode()) for key, value in found)

    def _reading(self, rows: Generator[T]) -> Iterator[T]:
        """A live iterator keeps the database open and locked, whatever `close` says; so `close` ends those that are left."""
        self._readers.add(rows)
        return rows

    def _range(self, start: bytes, bound: bytes, strip: int, *, skip: bytes | None) -> Generator[tuple[bytes, bytes]]:
        for key, value in self._walk(start, _successor(bound)):
            if key != skip:
                yield key[strip:], value

    def _walk(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """All that is stored from `start` to before `end`, in key order, as it was when the walk began."""
        options = ReadOptions()
        if end is not None:
            options.set_iterate_upper_bound(end)
        walk = self._db.iter(options)
        walk.seek(start)
        while walk.valid():
            yield walk.key(), walk.value()
            walk.next()

    def marker(self) -> Marker:
        raw = self.get("artifacts", MARKER_KEY)
        return Marker() if raw is None else _marker_decoder.decode(raw)

    def is_consistent(self) -> bool:
        """Whether the three tables are of one turn: every stamp has reached the turn that the marker names for it, and none is ahead."""
        marker = self.marker()
        versions, quarantine = self._stamp("versions"), self._stamp("quarantine")
        return versions == marker.versions_turn and quarantine == marker.quarantine_turn

    def _stamp(self, table: str) -> int:
        raw = self.get(table, MARKER_KEY)
        return 0 if raw is None else _stamp_decoder.decode(raw).turn

    def offset(self, table: str) -> int:
        raw = self._db.get(_OFFSET[table])
        return 0 if raw is None else int(_U64.unpack(raw)[0])

    def fingerprint(self, table: str) -> Fingerprint | None:
        """None in a store that nothing was written to, or that is older than fingerprints."""
        raw = self._db.get(_LAST[table])
        return None if raw is None else Fingerprint.decode(raw)

    def write(self, batch: Batch) -> None:
        self._db.write(batch._batch)

    def estimated_keys(self) -> int:
        return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)

    def size_bytes(self) -> int:
        return int(self._db.property_int_value("rocksdb.total-sst-files-size") or 0)

    def close(self) -> None:
        """Whoever still reads finds no more rows."""
        for rows in list(self._readers):
            rows.close()
        self._db.close()


#: Of all partitions together.
MEMTABLE_BYTES = 64 << 20


class Stores:
    """The partitions that are open in this process, under one directory, sharing one block cache."""

    def __init__(self, directory: Path, *, block_cache_bytes: int = 64 << 20, memtable_bytes: int = MEMTABLE_BYTES) -> None:
        self.directory = directory
        # Memtables are charged to the cache. Were it no larger than they, indexes and filters would be read again for each look-up.
        self._cache = Cache(block_cache_bytes + memtable_bytes)
        self._memtables = (
            WriteBufferManager.new_write_buffer_manager_with_cache(memtable_bytes, False, self._cache)
            if hasattr(WriteBufferManager, "new_write_buffer_manager_with_cache")
            else None
        )
        self._open: dict[int, PartitionStore] = {}

    def __contains__(self, partition: int) -> bool:
        return partition in self._open

    def __getitem__(self, partition: int) -> PartitionStore:
        return self._open[partition]

    def partitions(self) -> list[int]:
        return sorted(self._open)

    def open(self, partition: int) -> PartitionStore:
        """Open, or return what is open. Raises Fatal when another process has it."""
        if partition not in self._open:
            path = self._path(partition)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                database = Rdict(str(path), options=self._options())
            except Exception as exc:
                raise Fatal(
                    f"cannot open the store {path}: {exc}. Is another process using it? Give each its own data_dir; "
                    "the store may be deleted at any time, it is rebuilt from the changelogs"
                ) from exc
            database.set_write_options(_without_wal())
            self._open[partition] = PartitionStore(path, database)
        return self._open[partition]

    def close(self, partition: int) -> None:
        store = self._open.pop(partition, None)
        if store is not None:
            store.close()

    def drop(self, partition: int) -> None:
        """Close and delete: the partition will be restored from the changelogs."""
        self.close(partition)
        shutil.rmtree(self._path(partition), ignore_errors=True)

    def close_all(self) -> None:
        for partition in self.partitions():
            self.close(partition)

    def _path(self, partition: int) -> Path:
        return self.directory / f"partition-{partition:05d}"

    def _options(self) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(16 << 20)
        options.set_max_write_buffer_number(2)
        if self._memtables is not None:
            options.set_write_buffer_manager(self._memtables)
        # So many flushed memtables are merged at once, into what is about as large: fewer would have it written again and again.
        options.set_level_zero_file_num_compaction_trigger(12)
        options.set_level_zero_slowdown_writes_trigger(28)
        options.set_level_zero_stop_writes_trigger(40)
        options.set_max_open_files(256)
        options.set_max_background_jobs(1)
        options.set_keep_log_file_num(2)
        options.set_compression_type(DBCompressionType.lz4())
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        blocks.set_bloom_filter(10, False)
        blocks.set_cache_index_and_filter_blocks(True)
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        # In parts of a block's size, above them one that stays. In one piece they outgrow the cache's shards, and each look-up reads them again.
        blocks.set_index_type(BlockBasedIndexType.two_level_index_search())
        blocks.set_partition_filters(True)
        blocks.set_pin_top_level_index_and_filter(True)
        options.set_block_based_table_factory(blocks)
        return options


def _without_wal() -> WriteOptions:
    """The changelog is the write-ahead log. What a crash takes from the memtable, it takes with the offsets: both are read again."""
    options = WriteOptions()
    options.disable_wal = True
    return options


def _successor(prefix: bytes) -> bytes | None:
    """The least byte string greater than all that start with `prefix`; None if there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        if prefix[index] != 0xFF:
            return prefix[:index] + bytes([prefix[index] + 1])
    return None
