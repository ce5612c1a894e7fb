"""Records that were fetched and not taken yet: the next fetch does not wait for them, and none is lost, doubled or reordered for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchError, FetchResult, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from streams import fetched_ahead
from streams.fetched_ahead import FetchedAhead
from streams.record_batch import build_batch

TP = TopicPartition("events", 0)


class State:
    """aiokafka's, of one topic-partition."""

    def __init__(self) -> None:
        self.position, self.paused, self.has_valid_position = 0, False, True

    def consumed_to(self, position: int) -> None:
        self.position = position


class Assignment:
    def __init__(self) -> None:
        self.active, self.state = True, State()

    def state_value(self, tp: TopicPartition) -> State:
        return self.state


class Fetcher:
    """As far as it is leant on; `arrives` is what its own task does with a response, over the connection of that number."""

    def __init__(self) -> None:
        self._client = None
        self._records: Any = {}
        self.assignment = Assignment()
        self.fetches = FetchedAhead(self)  # type: ignore[arg-type]
        self.fetches.connections = SimpleNamespace(of_fetch=lambda tp: self.connection)  # type: ignore[assignment]
        self.connection = 1

    async def _proc_fetch_request(self, assignment: Any, node: int, request: Any) -> bool:
        return True

    def arrives(self, first: int, count: int) -> None:
        batch, _ = build_batch(
            [(b"k", b"%d" % n, []) for n in range(first, first + count)],
            timestamp_ms=1,
            producer_id=1,
            epoch=0,
            sequence=0,
            transactional=False,
            bytes_max=1_000_000,
        )
        raw = first.to_bytes(8, "big") + batch[8:]  # the base offset is the broker's to set
        read = PartitionRecords(TP, MemoryRecords(raw), [], first, None, None, False, READ_COMMITTED)
        self._records[TP] = FetchResult(TP, assignment=self.assignment, partition_records=read, backoff=0.1)

    def taken(self) -> list[int]:
        """What aiokafka's `fetched_records` makes of it."""
        if TP not in list(self._records.keys()):
            return []
        found = self._records[TP]
        records = found.getall(None)
        assert not found.has_more()
        del self._records[TP]
        return [record.offset for record in records]


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher()


def test_the_next_fetch_does_not_wait_for_what_is_not_taken(fetcher: Fetcher) -> None:
    """The fetcher sees nothing that waits, and a position behind it; what comes then is taken together, in order."""
    fetcher.arrives(0, 3)
    assert TP not in fetcher._records
    assert fetcher.assignment.state.position == 3
    fetcher.arrives(3, 2)
    assert fetcher.taken() == [0, 1, 2, 3, 4]
    assert fetcher.taken() == []


def test_whoever_takes_is_told_where_it_begins_and_ends(fetcher: Fetcher) -> None:
    """Chunks are joined by these positions."""
    fetcher.arrives(0, 3)
    fetcher.arrives(3, 2)
    found = fetcher._records[TP].getall(None)
    assert (found.begin, found.end, found.connection) == (0, 5, 1)


def test_no_more_is_fetched_when_many_wait(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: by these and one fetch."""
    monkeypatch.setattr(fetched_ahead, "RECORDS_MANY", 5)
    fetcher.arrives(0, 3)
    assert TP not in fetcher._records
    fetcher.arrives(3, 2)
    assert TP in fetcher._records
    assert len(fetcher.taken()) == 5
    assert TP not in fetcher._records


def test_after_a_seek_what_was_fetched_before_is_not_taken(fetcher: Fetcher) -> None:
    """Neither alone nor in front of what is fetched from there."""
    fetcher.arrives(0, 3)
    fetcher.assignment.state.position = 10
    assert fetcher.taken() == []
    fetcher.arrives(10, 1)
    fetcher.assignment.state.position = 20
    fetcher.arrives(20, 2)
    assert fetcher.taken() == [20, 21]


def test_what_comes_over_another_connection_waits_its_turn(fetcher: Fetcher) -> None:
    """Records of two connections are never one chunk: it is left to be fetched again, and not before the others are taken."""
    fetcher.arrives(0, 3)
    fetcher.connection = 2
    fetcher.arrives(3, 2)
    assert fetcher.assignment.state.position == 3
    assert TP in fetcher._records
    assert fetcher.taken() == [0, 1, 2]
    assert TP not in fetcher._records
    fetcher.arrives(3, 2)
    assert fetcher.taken() == [3, 4]


def test_an_error_does_not_displace_records(fetcher: Fetcher) -> None:
    """Their position has moved: they would be missing. The error comes again with the next fetch."""
    fetcher.arrives(0, 3)
    fetcher._records[TP] = FetchError(error=ValueError(), backoff=0.1)
    assert fetcher.taken() == [0, 1, 2]
    fetcher._records[TP] = FetchError(error=ValueError(), backoff=0.1)
    assert TP in fetcher._records


def test_nothing_is_taken_of_a_partition_that_is_somebody_elses(fetcher: Fetcher) -> None:
    """A rebalance came between."""
    fetcher.arrives(0, 3)
    fetcher.assignment.active = False
    assert fetcher.taken() == []


def test_what_is_paused_is_fetched_again(fetcher: Fetcher) -> None:
    """A response that was on its way when the mailbox became full moves no position."""
    fetcher.assignment.state.paused = True
    fetcher.arrives(0, 3)
    assert fetcher.assignment.state.position == 0
    assert fetcher.taken() == []
