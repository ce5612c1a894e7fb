"""What the engine leans on in a partition's store, stated once and run on RocksDB and on the store of the simulation."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tables.model import MARKER_KEY, Marker, Stamp
from tables.store import Stores
from tests.simulation.stores import MemoryDatabase, MemoryStores

_CRASH = """
import os, signal, sys
from pathlib import Path
from tables.store import Stores
store = Stores(Path(sys.argv[1])).open(0)
for number in range(1, 3001):
    batch = store.batch()
    batch.apply("artifacts", b"chart/%05d" % number, os.urandom(20_000))
    batch.apply("artifacts", b"chart/last", b"%d" % number)
    batch.set_offset("artifacts", number)
    store.write(batch)
os.kill(os.getpid(), signal.SIGKILL)
"""


class RocksBench:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.stores: Any = Stores(directory)

    def crash_while_writing(self) -> None:
        """A process of its own writes 3,000 batches and is killed. Each adds a key, names the last, and sets the offset."""
        self.stores.close_all()
        subprocess.run([sys.executable, "-c", _CRASH, str(self._directory)], check=False)


class MemoryBench:
    def __init__(self) -> None:
        self._disk: dict[int, MemoryDatabase] = {}
        self.stores: Any = MemoryStores(self._disk, random.Random(1))

    def crash_while_writing(self) -> None:
        store = self.stores.open(0)
        for number in range(1, 3001):
            batch = store.batch()
            batch.apply("artifacts", b"chart/%05d" % number, b"")
            batch.apply("artifacts", b"chart/last", b"%d" % number)
            batch.set_offset("artifacts", number)
            store.write(batch)
        self._disk[0].crash()


@pytest.fixture(params=["memory", "rocksdb"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = MemoryBench() if request.param == "memory" else RocksBench(tmp_path)
    yield made
    made.stores.close_all()


@pytest.fixture
def store(bench: Any) -> Any:
    return bench.stores.open(0)


def write(store: Any, table: str, content: dict[bytes, bytes | None], offset: int | None = None) -> None:
    batch = store.batch()
    for key, value in content.items():
        batch.apply(table, key, value)
    if offset is not None:
        batch.set_offset(table, offset)
    store.write(batch)


def version(generation: int) -> bytes:
    return msgspec.json.encode({"generation": generation})


def test_a_batch_is_there_when_it_is_written_and_not_before(store: Any) -> None:
    """Records of all tables and their offsets become visible together."""
    batch = store.batch()
    batch.apply("artifacts", b"chart/a", b"1")
    batch.apply("quarantine", b"chart/a\0x", b"2")
    batch.set_offset("artifacts", 7)
    assert store.get("artifacts", b"chart/a") is None
    assert store.offset("artifacts") == 0
    store.write(batch)

    assert (store.get("artifacts", b"chart/a"), store.get("quarantine", b"chart/a\0x")) == (b"1", b"2")
    assert {table: store.offset(table) for table in ("artifacts", "versions", "quarantine")} == {
        "artifacts": 7,
        "versions": 0,
        "quarantine": 0,
    }


def test_the_last_change_of_a_key_counts(store: Any) -> None:
    """Within a batch and over batches; a tombstone takes the key away."""
    batch = store.batch()
    batch.apply("artifacts", b"k", b"1")
    batch.apply("artifacts", b"k", b"2")
    store.write(batch)
    assert store.get("artifacts", b"k") == b"2"
    write(store, "artifacts", {b"k": None})

    assert store.get("artifacts", b"k") is None
    assert list(store.scan("artifacts")) == []


def test_a_scan_goes_in_order_of_keys_within_its_table(store: Any) -> None:
    """All, those with a prefix, and those behind a key; never another table's, never the marker."""
    write(store, "artifacts", {b"image/b": b"3", b"chart/b": b"2", b"chart/a": b"1", MARKER_KEY: b"{}"})
    write(store, "quarantine", {b"chart/c": b"no"})

    assert [key for key, _ in store.scan("artifacts")] == [b"chart/a", b"chart/b", b"image/b"]
    assert [key for key, _ in store.scan("artifacts", prefix=b"chart/")] == [b"chart/a", b"chart/b"]
    assert [key for key, _ in store.scan("artifacts", after=b"chart/a")] == [b"chart/b", b"image/b"]
    assert list(store.scan("artifacts", prefix=b"chart/", after=b"chart/b")) == []


def test_a_scan_shows_the_store_as_it_was_when_it_began(store: Any) -> None:
    """Writes of the same turn do not move it."""
    write(store, "artifacts", {b"a": b"1", b"b": b"2"})
    rows = store.scan("artifacts")
    assert next(rows) == (b"a", b"1")
    write(store, "artifacts", {b"b": None, b"c": b"3"})

    assert [key for key, _ in rows] == [b"b"]


def test_versions_come_in_the_order_of_their_generations(store: Any) -> None:
    """By number, not by text; only those after the one asked for, only of that artifact."""
    write(store, "versions", {b"chart/a\x001.0": version(9), b"chart/a\x002.0": version(10), b"chart/a\x000.1": version(2)})
    write(store, "versions", {b"chart/ab\x001.0": version(3), MARKER_KEY: b'{"turn":1}'})

    assert list(store.versions_after("chart/a", 0)) == [(2, "0.1"), (9, "1.0"), (10, "2.0")]
    assert list(store.versions_after("chart/a", 9)) == [(10, "2.0")]


@pytest.mark.parametrize(
    "value",
    [
        b'{"generation":12,"digest":null}',
        b'{"generation": 12, "digest": null}',
        b'{"digest":null,"generation":12}',
        b'{"generation":12}',
    ],
)
def test_a_generation_is_read_wherever_it_stands(store: Any, value: bytes) -> None:
    """Records of other releases may be spelled differently."""
    write(store, "versions", {b"chart/a\x001.0": value})
    assert list(store.versions_after("chart/a", 11)) == [(12, "1.0")]


def test_a_version_that_moved_leaves_a_stale_entry(store: Any) -> None:
    """Readers compare: the version's own generation is another by then."""
    write(store, "versions", {b"chart/a\x001.0": version(1)})
    write(store, "versions", {b"chart/a\x001.0": version(4)})

    assert list(store.versions_after("chart/a", 0)) == [(1, "1.0"), (4, "1.0")]


def test_the_marker_tells_whether_the_tables_are_of_one_turn(store: Any) -> None:
    """A stamp that has not reached the turn that the marker names, or is ahead of it, is told."""
    assert store.marker() == Marker()
    assert store.is_consistent()
    write(store, "artifacts", {MARKER_KEY: msgspec.json.encode(Marker(turn=3, versions_turn=2))})
    assert store.marker().turn == 3
    assert not store.is_consistent()
    write(store, "versions", {MARKER_KEY: msgspec.json.encode(Stamp(2))})
    assert store.is_consistent()
    write(store, "versions", {MARKER_KEY: msgspec.json.encode(Stamp(4))})

    assert not store.is_consistent()


def test_what_is_closed_is_kept_and_what_is_dropped_is_gone(bench: Any) -> None:
    """Closing and opening again loses nothing; dropping loses that partition alone."""
    for partition in (0, 1):
        write(bench.stores.open(partition), "artifacts", {b"a": b"%d" % partition}, offset=5)
    bench.stores.close(0)
    assert bench.stores.partitions() == [1]
    assert 0 not in bench.stores
    assert (bench.stores.open(0).get("artifacts", b"a"), bench.stores[0].offset("artifacts")) == (b"0", 5)
    bench.stores.drop(0)

    assert (bench.stores.open(0).get("artifacts", b"a"), bench.stores[0].offset("artifacts")) == (None, 0)
    assert bench.stores[1].get("artifacts", b"a") == b"1"


def test_a_closed_store_takes_nothing_more(bench: Any) -> None:
    """Whoever still holds it learns so, and does not write beside the one who has opened it since."""
    store = bench.stores.open(0)
    batch = store.batch()
    batch.apply("artifacts", b"a", b"1")
    bench.stores.close(0)
    with pytest.raises(Exception, match=r"(?i)closed"):
        store.write(batch)


def test_after_a_crash_the_store_is_what_it_was_at_an_earlier_commit(bench: Any) -> None:
    """Killed between two flushes: data and offset are of one moment, and nothing before it is missing."""
    bench.crash_while_writing()
    store = bench.stores.open(0)
    offset = store.offset("artifacts")
    keys = [key for key, _ in store.scan("artifacts")]

    assert keys == [b"chart/%05d" % number for number in range(1, offset + 1)] + ([b"chart/last"] if offset else [])
    assert store.get("artifacts", b"chart/last") == (b"%d" % offset if offset else None)
