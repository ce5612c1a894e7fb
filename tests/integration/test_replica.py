"""The replica and the restore on a real Kafka: they end where the changelogs end, and believe the changelogs, not the disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway.local.kafka import Kafka
from streams.log_reader import LogReader
from streams.log_transaction import Append, TransactionalWriter, connect
from streams.settings import Settings
from streams.topic_admin import ensure_topics
from streams.topics import TABLES, Topics
from tables.model import MARKER_KEY, Marker, Stamp, version_key
from tables.replica import Replica, restore
from tables.store import Stores
from tests.brokers import orbit

pytestmark = pytest.mark.connected


class Changelogs:
    """The changelogs of one partition, written as an actor writes them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.topics = Topics(settings.kafka.topic_prefix)
        self.turn = 0

    async def open(self) -> None:
        await ensure_topics(self.settings)
        self.client = await connect(self.settings.kafka.bootstrap, request_timeout_s=10)
        self.writer = TransactionalWriter(
            self.client, f"{self.topics.prefix}.0", transaction_timeout_s=10, deadline_s=10, batch_bytes_max=900_000
        )
        await self.writer.init()

    async def write(self, *artifacts: str, versions: bool = True) -> None:
        self.turn += 1
        marker = Marker(turn=self.turn, versions_turn=self.turn if versions else 0)
        heads = [(name.encode(), b'{"generation":%d}' % self.turn, []) for name in artifacts]
        entries = [(version_key(name, "1"), b'{"generation":%d}' % self.turn, []) for name in artifacts if versions]
        stamp = [(MARKER_KEY, msgspec.json.encode(Stamp(self.turn)), [])] if entries else []
        await self.writer.commit(
            [
                Append(self.topics.changelog("artifacts"), 0, [*heads, (MARKER_KEY, msgspec.json.encode(marker), [])]),
                Append(self.topics.changelog("versions"), 0, entries + stamp),
            ],
            self.turn,
        )

    def reader(self) -> LogReader:
        return LogReader(self.settings.kafka.bootstrap)

    async def restored(self, stores: Stores) -> None:
        reader = self.reader()
        await reader.start()
        try:
            async with asyncio.timeout(20):
                await restore(reader, self.topics, stores, {0}, on_ready=lambda partition: None)
        finally:
            await reader.aclose()


@pytest.fixture
async def changelogs(kafka: Kafka, tmp_path: Path, topic_prefix: str) -> AsyncIterator[Changelogs]:
    wanted = {"bootstrap": kafka.bootstrap, "topic_prefix": topic_prefix, "partitions": 1}
    made = Changelogs(orbit(tmp_path, kafka=wanted))
    await made.open()
    yield made
    await made.client.close()


async def test_restore_ends_though_the_last_offset_is_a_commit_marker(changelogs: Changelogs, tmp_path: Path) -> None:
    """The last record is one before the end, for ever; positions reach it all the same, from empty and from up to date."""
    for number in range(5):
        await changelogs.write(f"chart/a{number}")
    stores = Stores(tmp_path / "stores")
    await changelogs.restored(stores)
    await changelogs.restored(stores)

    assert [key for key, _ in stores[0].scan("artifacts")] == [b"chart/a%d" % n for n in range(5)]
    assert stores[0].marker().turn == 5
    assert stores[0].is_consistent()
    stores.close_all()


async def test_an_interrupted_restore_goes_on_where_it_was(changelogs: Changelogs, tmp_path: Path) -> None:
    """What is on disk is not read again: the store's own position is where reading starts."""
    await changelogs.write("chart/a")
    stores = Stores(tmp_path / "stores")
    await changelogs.restored(stores)
    at = {table: stores[0].offset(table) for table in TABLES}
    await changelogs.write("chart/b")
    await changelogs.restored(stores)

    assert stores[0].offset("artifacts") > at["artifacts"]
    assert [key for key, _ in stores[0].scan("artifacts")] == [b"chart/a", b"chart/b"]
    stores.close_all()


async def test_a_store_from_another_log_is_dropped_and_rebuilt(changelogs: Changelogs, tmp_path: Path) -> None:
    """A position beyond the changelog's end means that the log lost its tail or is another one: the disk is not believed."""
    await changelogs.write("chart/a")
    stores = Stores(tmp_path / "stores")
    batch = stores.open(0).batch()
    batch.apply("artifacts", b"chart/ghost", b"{}")
    batch.set_offset("artifacts", 1_000_000)
    stores[0].write(batch)
    await changelogs.restored(stores)

    assert [key for key, _ in stores[0].scan("artifacts")] == [b"chart/a"]
    stores.close_all()


async def test_a_deleted_store_comes_back_whole(changelogs: Changelogs, tmp_path: Path) -> None:
    """RocksDB is a cache: dropping it loses nothing, derived index included."""
    await changelogs.write("chart/a", "chart/b")
    stores = Stores(tmp_path / "stores")
    await changelogs.restored(stores)
    before = list(stores[0].scan("artifacts")), list(stores[0].scan("versions")), list(stores[0].versions_after("chart/a", 0))
    stores.drop(0)
    await changelogs.restored(stores)

    assert (
        list(stores[0].scan("artifacts")),
        list(stores[0].scan("versions")),
        list(stores[0].versions_after("chart/a", 0)),
    ) == before
    stores.close_all()


async def test_the_replica_follows_and_a_read_can_wait_for_a_turn(changelogs: Changelogs, tmp_path: Path) -> None:
    """`wait_marker` returns when the turn is there with all its tables, and gives up in time for one that never comes."""
    await changelogs.write("chart/a")
    stores = Stores(tmp_path / "replica")
    replica = Replica(changelogs.settings.kafka.bootstrap, changelogs.topics, 1, stores)
    changed: list[bytes] = []
    replica.on_change = lambda partition, keys: changed.extend(keys)
    await replica.start()
    try:
        assert await replica.wait_marker(0, lambda marker: marker.turn >= 1, 10)
        waiting = asyncio.ensure_future(replica.wait_marker(0, lambda marker: marker.turn >= 2, 10))
        await changelogs.write("chart/b")
        assert await waiting
        assert stores[0].get("versions", version_key("chart/b", "1")) is not None
        assert not await replica.wait_marker(0, lambda marker: marker.turn >= 99, 0.2)
        deadline = time.monotonic() + 5
        while not replica.ready:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    finally:
        await replica.aclose()
    assert sorted(changed) == [b"chart/a", b"chart/b"]
