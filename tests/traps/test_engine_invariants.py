"""The invariants of the chunk path, one test each, without a broker. What proves the others, and which apply no more: docs/proofs.md."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.artifact import ArtifactActor
from agents.rules import Rules
from streams.chunks import Chunk
from streams.errors import Fatal
from streams.log_reader import TP, Fetched
from streams.log_transaction import Append
from streams.settings import Settings
from streams.topics import TABLES, Topics
from tables import replica
from tables.fingerprint import Fingerprint
from tables.model import Marker
from tables.replica import Follower
from tables.store import Stores
from tests.brokers import orbit
from tests.events import FakeRecord, chart_event, record
from tests.holding import nothing_held

NOW_MS = 1_795_000_000_000


class FakeFlow:
    def __init__(self) -> None:
        self.finished_at: list[tuple[str, int]] = []

    def full(self, topic: str, partition: int) -> None: ...

    def drained(self, topic: str, partition: int) -> None: ...

    def rewind(self, topic: str, partition: int, offset: int) -> None: ...

    def finished(self, topic: str, partition: int, next_offset: int) -> None:
        self.finished_at.append((topic, next_offset))


class FakeWriter:
    """Commits when it is told to, and to offset 100 of everything."""

    def __init__(self) -> None:
        self.appends: list[Append] = []
        self.begun = asyncio.Event()
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def commit(self, appends: list[Append], timestamp_ms: int) -> dict[tuple[str, int], int]:
        self.appends = appends
        self.begun.set()
        await self.outcome
        return {(append.topic, append.partition): 100 for append in appends}


class Bench:
    """One actor over a real store, with a turn of three events on its way into the log."""

    def __init__(self, settings: Settings, stores: Stores) -> None:
        self.topics = Topics(settings.kafka.topic_prefix)
        self.store, self.flow, self.writer = stores.open(0), FakeFlow(), FakeWriter()
        self.told: list[str] = []
        rules = Rules(settings)
        self.actor = ArtifactActor(
            0,
            marker=Marker(routing=rules.routing.hash, config=rules.config_hash),
            topics=self.topics,
            rules=rules,
            store=self.store,
            writer=self.writer,
            flow=self.flow,
            watch=nothing_held(),
            clock=lambda: NOW_MS,
            on_commit=lambda _, changed: self.told.extend(changed),
            worker=settings.worker,
        )

    async def begin(self) -> asyncio.Task[None]:
        events = [record(n, chart_event("a", f"1.{n}.0")) for n in range(3)]
        self.actor.offer(Chunk(self.topics.events, 0, events))
        running = asyncio.create_task(self.actor.run())
        await asyncio.wait_for(self.writer.begun.wait(), 5)
        return running

    @property
    def stored(self) -> dict[str, Any]:
        return {table: dict(self.store.scan(table)) for table in TABLES} | {"marker": self.store.marker()}


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(tmp_path / "stores")
    yield stores
    stores.close_all()


@pytest.fixture
async def bench(tmp_path: Path, stores: Stores) -> Bench:
    return Bench(orbit(tmp_path), stores)


async def test_i1_nothing_is_acknowledged_before_its_transaction_is(bench: Bench) -> None:
    """While the transaction is on its way nobody is told of it: neither the group, nor the store, nor the components."""
    running = await bench.begin()
    assert (bench.flow.finished_at, bench.told, bench.stored["marker"]) == ([], [], Marker())
    bench.writer.outcome.set_result(None)
    while not bench.told:
        await asyncio.sleep(0)
    assert (bench.topics.events, 3) in bench.flow.finished_at
    assert bench.stored["marker"].events == 3
    bench.actor.stop()
    await running


async def test_i4_store_and_changelog_have_the_same_bytes(bench: Bench) -> None:
    """What stands in the store is byte for byte what was sent to the changelogs, with the offsets behind it."""
    running = await bench.begin()
    bench.writer.outcome.set_result(None)
    while not bench.told:
        await asyncio.sleep(0)
    table_of = {bench.topics.changelog(table): table for table in TABLES}
    for append in bench.writer.appends:
        if append.topic in table_of and append.records:
            table = table_of[append.topic]
            assert {key: bench.store.get(table, key or b"") for key, _, _ in append.records} == {
                key: value for key, value, _ in append.records
            }
            assert bench.store.offset(table) == 100 + len(append.records)
            key, value, _ = append.records[-1]
            last = Fingerprint.of(99 + len(append.records), NOW_MS, key or b"", value)
            assert bench.store.fingerprint(table) == last
    bench.actor.stop()
    await running


@pytest.mark.parametrize("how", ["refused", "cancelled"])
async def test_i5_a_turn_that_is_given_up_leaves_nothing_behind(bench: Bench, how: str) -> None:
    """At a rebalance, or when the log refuses: no record, no offset, no acknowledgement, and nobody is told."""
    before, running = bench.stored, await bench.begin()
    if how == "refused":
        bench.writer.outcome.set_exception(Fatal("as told"))
    else:
        running.cancel()
    with pytest.raises((Fatal, asyncio.CancelledError)):
        await running
    assert (bench.stored, bench.flow.finished_at, bench.told) == (before, [], [])


class FakeReader:
    """A changelog of a thousand records and a commit marker, which comes in two fetches."""

    COUNT = 1000

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._positions: dict[TP, int] = {}

    async def beginnings(self, tps: Any) -> dict[TP, int]:
        return dict.fromkeys(tps, 0)

    async def ends(self, tps: Any) -> dict[TP, int]:
        return {tp: self.COUNT + 1 if tp.topic == self._topic else 0 for tp in tps}

    def assign(self, positions: Mapping[TP, int]) -> None:
        self._positions = dict(positions)

    async def position(self, tp: TP) -> int:
        return self._positions[tp]

    async def poll(self, timeout_s: float) -> dict[TP, Fetched]:
        tp = TP(self._topic, 0)
        first, half = self._positions[tp], self.COUNT // 2
        records = [FakeRecord(n, b"chart/%d" % n, b"{}", ()) for n in range(first, min(first + half, self.COUNT))]
        behind = records[-1].offset + 1 if records else first
        self._positions[tp] = self.COUNT + 1 if behind == self.COUNT else behind
        return {tp: Fetched(records, self._positions[tp])} if records else {}


async def test_recovery_writes_once_for_a_fetch_not_for_a_record(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand records in two fetches are two batches for RocksDB, not a thousand."""
    topics, writes = Topics("t"), []
    store = stores.open(0)
    original = store.write
    monkeypatch.setattr(store, "write", lambda batch: (writes.append(1), original(batch)))
    follower = Follower(FakeReader(topics.changelog("artifacts")), topics, stores)  # type: ignore[arg-type]
    await follower.assign({0})
    while 0 not in follower.caught_up():
        await follower.poll(0.1)
        await follower.refresh_positions()

    assert len(writes) == 2
    assert store.offset("artifacts") == FakeReader.COUNT + 1


async def test_a_fetch_that_is_written_in_parts_goes_on_where_it_stopped(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends between two batches of one fetch has all below its offset and nothing above it."""
    monkeypatch.setattr(replica, "_WRITTEN_AT_ONCE", 200)
    topics, writes = Topics("t"), []
    store = stores.open(0)
    original = store.write

    def write(batch: Any) -> None:
        writes.append(1)
        if len(writes) == 3:
            raise InterruptedError
        original(batch)

    monkeypatch.setattr(store, "write", write)
    follower = Follower(FakeReader(topics.changelog("artifacts")), topics, stores)  # type: ignore[arg-type]
    await follower.assign({0})
    with pytest.raises(InterruptedError):
        await follower.poll(0.1)
    assert store.offset("artifacts") == 400
    assert (store.get("artifacts", b"chart/399"), store.get("artifacts", b"chart/400")) == (b"{}", None)

    again = Follower(FakeReader(topics.changelog("artifacts")), topics, stores)  # type: ignore[arg-type]
    await again.assign({0})
    while 0 not in again.caught_up():
        await again.poll(0.1)
        await again.refresh_positions()
    assert store.offset("artifacts") == FakeReader.COUNT + 1
    assert len(list(store.scan("artifacts"))) == FakeReader.COUNT


def test_what_faust_and_nats_py_break_is_not_used() -> None:
    """None of the features that lose or repeat silently is called anywhere: each has its reason in docs/proofs.md."""
    names = (
        "ordered_consumer",
        "exactly_once",
        "SetTable",
        r"\.tumbling\(",
        r"\.hopping\(",
        r"\.take\(\d",
        "use_partitioner",
        "LiveCheck",
    )
    broken = "|".join(names)
    code = [path for package in ("streams", "tables", "agents", "gateway") for path in Path(package).rglob("*.py")]
    assert len(code) > 50
    found = [str(path) for path in code for line in path.read_text().splitlines() if re.search(broken, _without_prose(line))]
    assert found == []


def _without_prose(line: str) -> str:
    """Comments and words between backquotes speak about it."""
    return re.sub(r"`[^`]*`|#.*", "", line)
