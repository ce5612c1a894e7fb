"""The number of a connection: another one whenever the log may have been another between two fetches, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from streams.errors import Away
from streams.fetched_over import FirstConnections, NotedFetches
from streams.record_batch import build_batch

TP0, TP1 = TopicPartition("events", 0), TopicPartition("events", 1)

BATCH = bytes(
    build_batch(
        [(b"chart/a", b"{}", [("sm-ingress", b"x")])],
        timestamp_ms=7,
        producer_id=1,
        epoch=0,
        sequence=0,
        transactional=False,
        bytes_max=1000,
    )[0]
)


class FakeConnection:
    def __init__(self) -> None:
        self.is_open = True

    def connected(self) -> bool:
        return self.is_open


class FakeClient:
    """A client of two brokers. Partition n is led by `leaders[n]`."""

    def __init__(self) -> None:
        self._conns: dict[tuple[int, ConnectionGroup], FakeConnection] = {}
        self.leaders: dict[TopicPartition, int | None] = {TP0: 1, TP1: 2}
        self.is_away = False
        self.cluster = self

    def leader_for_partition(self, tp: TopicPartition) -> int | None:
        return self.leaders[tp]

    async def ready(self, node: int) -> bool:
        found = self._conns.get((node, ConnectionGroup.DEFAULT))
        if not self.is_away and (found is None or not found.is_open):
            self._conns[node, ConnectionGroup.DEFAULT] = FakeConnection()
        return not self.is_away

    def cut(self, node: int) -> None:
        self._conns[node, ConnectionGroup.DEFAULT].is_open = False


class FakeFetcher:
    """aiokafka's, as far as it is leant on: what a request brings goes into `_records` before it returns."""

    def __init__(self) -> None:
        self._client = FakeClient()
        self._records: Any = {}
        self.meanwhile: Callable[[], None] = lambda: None

    async def _proc_fetch_request(self, assignment: Any, node: int, request: TopicPartition) -> bool:
        await self._client.ready(node)
        self.meanwhile()
        records = PartitionRecords(request, MemoryRecords(BATCH), [], 0, None, None, False, READ_COMMITTED)
        self._records[request] = FetchResult(request, assignment=None, partition_records=records, backoff=0)
        return True

    async def fetch(self, tp: TopicPartition) -> None:
        """In a task of its own, as the fetcher does it."""
        node = self._client.leaders[tp]
        await asyncio.create_task(self._proc_fetch_request(None, node, tp))  # type: ignore[arg-type]


class Numbers(NotedFetches):
    def __init__(self, fetcher: Any) -> None:
        super().__init__(fetcher)
        self.seen: list[int] = []

    def note(self, tp: TopicPartition, fetched: FetchResult, connection: int) -> bool:
        self.seen.append(connection)
        return True


@pytest.fixture
def fetcher() -> FakeFetcher:
    return FakeFetcher()


async def test_one_connection_has_one_number(fetcher: FakeFetcher) -> None:
    """What was asked for before, and every fetch over it, say the same."""
    numbers = Numbers(fetcher)
    number = await numbers.connections.made(TP0)
    await fetcher.fetch(TP0)
    await fetcher.fetch(TP0)
    assert numbers.seen == [number, number]


async def test_records_stay_as_they_come_out_of_their_batch(fetcher: FakeFetcher) -> None:
    """Nothing is copied between the batch and whoever reads: aiokafka's fetcher hands on what its parser made."""
    numbers = Numbers(fetcher)
    await fetcher.fetch(TP0)
    (record,) = numbers[TP0]._partition_records
    assert not isinstance(record, ConsumerRecord)
    assert (record.offset, record.key, record.value, record.timestamp) == (0, b"chart/a", b"{}", 7)
    assert dict(record.headers) == {"sm-ingress": b"x"}


async def test_another_connection_has_a_higher_number(fetcher: FakeFetcher) -> None:
    """A broker that was away may have lost its tail."""
    numbers = Numbers(fetcher)
    number = await numbers.connections.made(TP0)
    await fetcher.fetch(TP0)
    fetcher._client.cut(1)
    again = await numbers.connections.made(TP0)
    await fetcher.fetch(TP0)
    assert again > number
    assert numbers.seen == [number, again]


async def test_a_fetch_during_which_the_connection_changes_is_of_neither(fetcher: FakeFetcher) -> None:
    """Nobody can tell over which it came: it is another, and the one after it is another again."""
    numbers = Numbers(fetcher)
    first = await numbers.connections.made(TP0)
    fetcher.meanwhile = lambda: fetcher._client.cut(1)
    await fetcher.fetch(TP0)
    fetcher.meanwhile = lambda: None
    second = await numbers.connections.made(TP0)
    assert first < numbers.seen[0] < second


async def test_a_leader_that_moves_is_another_connection(fetcher: FakeFetcher) -> None:
    """Also where that connection has been there all the time."""
    numbers = Numbers(fetcher)
    await numbers.connections.made(TP1)
    first = await numbers.connections.made(TP0)
    fetcher._client.leaders[TP0] = 2
    await fetcher.fetch(TP0)
    assert numbers.seen[0] > first


@pytest.mark.parametrize("leader", [None, -1, 1])
async def test_without_a_leader_that_answers_there_is_no_number(fetcher: FakeFetcher, leader: int | None) -> None:
    """Whoever asks tries again later."""
    numbers = Numbers(fetcher)
    fetcher._client.leaders[TP0], fetcher._client.is_away = leader, True
    with pytest.raises(Away):
        await numbers.connections.made(TP0)


async def test_a_reader_is_told_once_it_reads_over_another_connection(fetcher: FakeFetcher) -> None:
    """Of any of its topic-partitions, until it begins again."""
    first: Any = FirstConnections(fetcher)  # type: ignore[arg-type]
    for tp in (TP0, TP1, TP0):
        await fetcher.fetch(tp)
    assert not first.has_changed
    fetcher._client.cut(2)
    await fetcher.fetch(TP0)
    assert not first.has_changed
    await fetcher.fetch(TP1)
    await fetcher.fetch(TP1)
    assert first.has_changed
    first.begin()
    await fetcher.fetch(TP1)
    assert not first.has_changed
