"""Cutting what a poll brought into chunks, and the batches that go back: nothing is lost, doubled or reordered on the way."""

from __future__ import annotations

import random
from typing import NamedTuple

from aiokafka.record.memory_records import MemoryRecords
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.chunks import ChunkScheduler
from streams.record_batch import build_batch


class Sized(NamedTuple):
    offset: int
    value: bytes


@given(
    st.lists(st.lists(st.integers(0, 500), min_size=1, max_size=40), min_size=1, max_size=5),
    st.integers(1, 10),
    st.integers(100, 1000),
)
def test_chunks_hold_every_record_once_in_order_within_the_bounds(
    sizes: list[list[int]], records_max: int, bytes_max: int
) -> None:
    """For any poll: concatenated chunks are the poll; none is larger than allowed unless it is a single record."""
    poll = {TP("events", p): [Sized(n, bytes(size)) for n, size in enumerate(batch)] for p, batch in enumerate(sizes)}
    chunks: dict[TP, list[list[Sized]]] = {tp: [] for tp in poll}
    for tp, chunk in ChunkScheduler(records_max, bytes_max).iterate(poll):
        chunks[tp].append(chunk)

    assert {tp: [r for chunk in found for r in chunk] for tp, found in chunks.items()} == poll
    for chunk in (chunk for found in chunks.values() for chunk in found):
        assert len(chunk) <= records_max
        assert len(chunk) == 1 or sum(len(record.value) for record in chunk) <= bytes_max


def test_partitions_take_turns() -> None:
    """A partition with much to read does not hold up one with little."""
    poll = {TP("events", 0): [Sized(n, b"v") for n in range(6)], TP("events", 1): [Sized(0, b"v")]}
    order = [tp.partition for tp, _ in ChunkScheduler(2, 1000).iterate(poll)]
    assert order == [0, 1, 0, 0]


def test_a_batch_is_read_back_as_it_was_written() -> None:
    """Keys, values, tombstones and headers survive our own compression, and the checksum is right."""
    rng = random.Random(7)
    records = [(b"k%d" % n, None if n % 7 == 0 else b'{"n":%d}' % rng.randrange(99) * 9, [("h", b"v")]) for n in range(300)]
    raw, count = build_batch(records, timestamp_ms=5, producer_id=8, epoch=1, sequence=0, transactional=True, bytes_max=900_000)
    batch = MemoryRecords(raw).next_batch()

    assert count == 300
    assert len(raw) < 6000
    assert batch.validate_crc()
    assert batch.is_transactional
    assert batch.producer_id == 8
    assert [(r.key, r.value, list(r.headers)) for r in batch] == records


def test_a_batch_takes_what_fits_and_says_how_much() -> None:
    """The rest is for the next batch; a record that is larger than the bound still goes, alone."""
    records = [(b"k", b"x" * 400, []) for _ in range(10)]
    _, count = build_batch(records, timestamp_ms=5, producer_id=8, epoch=1, sequence=0, transactional=True, bytes_max=1000)
    _, alone = build_batch(records, timestamp_ms=5, producer_id=8, epoch=1, sequence=0, transactional=True, bytes_max=100)
    assert (count, alone) == (2, 1)
