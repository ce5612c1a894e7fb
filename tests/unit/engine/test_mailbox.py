"""Mailboxes take chunks in order and without holes, and pause only their own topic-partition."""

from __future__ import annotations

import asyncio

import pytest

from agents.artifact import Mailbox
from streams.chunks import Chunk
from tests.events import FakeRecord


class Flow:
    """Writes down what a mailbox asks of the consumer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def full(self, topic: str, partition: int) -> None:
        self.asked.append(("full", partition))

    def drained(self, topic: str, partition: int) -> None:
        self.asked.append(("drained", partition))

    def rewind(self, topic: str, partition: int, offset: int) -> None:
        self.asked.append(("rewind", offset))

    def finished(self, topic: str, partition: int, next_offset: int) -> None:
        self.asked.append(("finished", next_offset))


def chunk(first: int, last: int) -> Chunk:
    return Chunk("events", 3, [FakeRecord(offset, b"k", b"v", ()) for offset in range(first, last + 1)])


def mailbox(flow: Flow, *, position: int = 0, chunks_max: int = 2) -> Mailbox:
    return Mailbox("events", 3, position, chunks_max, flow)


def offsets(records: list[FakeRecord]) -> list[int]:
    return [record.offset for record in records]


async def test_small_chunks_are_taken_together() -> None:
    """A transaction costs the same for one record as for many: what has gathered goes into one, within a chunk's bounds."""
    box = mailbox(Flow(), chunks_max=9)
    for first in range(0, 12, 3):
        box.offer(chunk(first, first + 2))
    assert offsets(box.take(records_max=7, bytes_max=1000)) == [0, 1, 2, 3, 4, 5]
    assert offsets(box.take(records_max=7, bytes_max=1000)) == [6, 7, 8, 9, 10, 11]
    assert not box


async def test_bytes_bound_what_is_taken_together() -> None:
    """A turn of several chunks is no larger than the largest chunk may be."""
    box = mailbox(Flow(), chunks_max=9)
    for first in range(3):
        box.offer(Chunk("events", 3, [FakeRecord(first, b"k", b"v" * 40, ())]))
    assert offsets(box.take(records_max=10, bytes_max=100)) == [0, 1]
    assert offsets(box.take(records_max=10, bytes_max=10)) == [2]


async def test_a_chunk_that_follows_is_taken() -> None:
    """Chunks that begin where the last one ended are given out in order."""
    box = mailbox(Flow(), position=10)
    assert box.offer(chunk(10, 12))
    assert box.offer(chunk(13, 13))
    assert offsets(box.take(1, 1000)) == [10, 11, 12]
    assert offsets(box.take(1, 1000)) == [13]
    assert box.next_offset == 14


async def test_a_chunk_behind_a_hole_is_refused_and_read_again() -> None:
    """Taking it would make the hole permanent: dedup by mark would drop what is read late. The position stays."""
    flow = Flow()
    box = mailbox(flow, position=10)
    assert not box.offer(chunk(20, 25))
    assert not box
    assert flow.asked == [("rewind", 10)]


async def test_a_stale_chunk_is_dropped_without_reading_again() -> None:
    """A fetch from before a seek that brings only what was taken already costs nothing."""
    flow = Flow()
    box = mailbox(flow, position=10)
    assert not box.offer(chunk(5, 9))
    assert flow.asked == []


async def test_a_chunk_from_before_is_taken_again_where_repetitions_are_harmless() -> None:
    """Once begun, a consumer goes back only when the log lost its tail: what stands there now may be new. Dedup drops the rest."""
    box = Mailbox("events", 3, 10, 4, Flow(), may_go_back=True)
    assert not box.offer(chunk(5, 9))  # a stale fetch
    assert box.offer(chunk(10, 14))
    assert box.offer(chunk(8, 12))
    assert box.offer(chunk(13, 20))
    assert box.next_offset == 21


async def test_a_burst_of_chunks_that_do_not_follow_asks_once() -> None:
    """Stale fetches come in bursts; each asking would throw away the answer to the one before."""
    flow = Flow()
    box = mailbox(flow, position=10)
    for first in range(20, 60, 10):
        box.offer(chunk(first, first + 9))
    assert flow.asked == [("rewind", 10)]


async def test_records_that_never_come_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention took them while the partition was served: after a few tries the actor must look at what the log still has."""
    loop_s = 0.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: loop_s, raising=False)
    box = mailbox(Flow(), position=10)
    for _ in range(6):
        assert not box.misses_records
        loop_s += 2.0
        box.offer(chunk(20, 25))
    assert box.misses_records
    box.offer(chunk(10, 12))
    assert not box.misses_records


async def test_a_full_mailbox_pauses_itself_and_takes_what_is_on_its_way() -> None:
    """At the bound the topic-partition is paused; a chunk that was fetched already is not lost; half empty it resumes, once."""
    flow = Flow()
    box = mailbox(flow, chunks_max=2)
    for first in range(3):
        assert box.offer(chunk(first, first))
    assert set(flow.asked) == {("full", 3)}
    box.take(1, 1000)
    assert ("drained", 3) not in flow.asked
    box.take(1, 1000)
    assert flow.asked[-1] == ("drained", 3)
    box.take(1, 1000)
    assert flow.asked.count(("drained", 3)) == 1


async def test_markers_of_transactions_are_no_holes() -> None:
    """What was read and had no record in it counts as taken: a chunk follows when reading went on where it had stopped."""
    flow = Flow()
    box = mailbox(flow, chunks_max=9)
    one, two, three = (Chunk("events", 3, [FakeRecord(offset, b"k", b"v", ())], offset, offset + 2) for offset in (0, 2, 5))
    assert box.offer(one)
    assert box.offer(two)
    assert not box.offer(three)
    assert flow.asked == [("rewind", 4)]
    box.take(records_max=9, bytes_max=1000)
    assert box.taken == 4
