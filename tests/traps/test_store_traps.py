"""What Faust's RocksDB driver does to those who use it does not happen to us. Each test is named after the trap it steps into."""

from __future__ import annotations

from pathlib import Path

from tables.store import MEMTABLE_BYTES, Stores

BLOCK_CACHE_BYTES = 8 << 20


def _filled(stores: Stores, partition: int) -> None:
    batch = stores.open(partition).batch()
    for number in range(100):
        batch.apply("artifacts", b"chart/%d" % number, b"{}")
    stores[partition].write(batch)


def test_partitions_share_one_block_cache(tmp_path: Path) -> None:
    """Not 2 GiB for each: sixteen partitions have one cache, of the size that is configured, and as much again as memtables may take of it."""
    stores = Stores(tmp_path, block_cache_bytes=BLOCK_CACHE_BYTES)
    capacities = {stores.open(partition)._db.property_int_value("rocksdb.block-cache-capacity") for partition in range(16)}
    stores.close_all()

    assert capacities == {BLOCK_CACHE_BYTES + MEMTABLE_BYTES}


def test_a_database_is_closed_at_once_though_somebody_still_reads(tmp_path: Path) -> None:
    """A live iterator does not keep the lock: the partition's next owner does not wait for a garbage collector."""
    stores = Stores(tmp_path)
    _filled(stores, 3)
    reading = stores[3].scan("artifacts")
    next(reading)
    stores.close(3)
    reopened = Stores(tmp_path)

    assert reopened.open(3).get("artifacts", b"chart/7") == b"{}"
    reopened.close_all()
    del reading


def test_reading_never_opens_a_partition_that_is_not_assigned(tmp_path: Path) -> None:
    """A look-up in a partition that is not open fails; it does not make and lock a database on the way."""
    stores = Stores(tmp_path)
    _filled(stores, 0)

    assert 1 not in stores
    assert [path.name for path in tmp_path.iterdir()] == ["partition-00000"]
    stores.close_all()


def test_records_and_offsets_survive_a_close_without_a_write_ahead_log(tmp_path: Path) -> None:
    """Closing flushes; what was committed before is there, with the offset that belongs to it."""
    stores = Stores(tmp_path)
    _filled(stores, 0)
    batch = stores[0].batch()
    batch.apply("artifacts", b"chart/last", b"{}")
    batch.set_offset("artifacts", 42)
    stores[0].write(batch)
    stores.close_all()
    reopened = Stores(tmp_path)

    assert (reopened.open(0).offset("artifacts"), reopened[0].get("artifacts", b"chart/last")) == (42, b"{}")
    reopened.close_all()
