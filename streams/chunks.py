"""Chunks: records of one topic-partition as they travel from the log to the actor of the partition, and how a poll is cut into them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from faust.types import TP

from streams.fetched_ahead import Fetched


class Chunk(msgspec.Struct, frozen=True):
    """Records of one topic-partition, in order; aiokafka's own objects.

    `first` is where reading began and `behind` where it goes on, which tells of holes: a chunk follows another whose `behind` is its
    `first`, though transactions leave markers between records that nobody is shown. `last` is the offset of the last record.
    `connection` is a higher number when it came over another connection than the chunk before: see `fetched_over.py`.
    """

    topic: str
    partition: int
    records: list[Any]
    begin: int | None = None
    end: int | None = None
    connection: int = 0

    @property
    def first(self) -> int:
        return int(self.records[0].offset) if self.begin is None else self.begin

    @property
    def last(self) -> int:
        return int(self.records[-1].offset)

    @property
    def behind(self) -> int:
        return self.last + 1 if self.end is None else self.end

    @property
    def value_bytes(self) -> int:
        return sum(len(record.value or b"") for record in self.records)


class Chunks:
    """Of one topic, as they travel in one Faust message. `take` once."""

    def __init__(self, chunks: Iterable[Chunk], generation_id: int) -> None:
        self.generation_id = generation_id
        self._chunks: list[Chunk] | None = list(chunks)

    def add(self, chunks: Iterable[Chunk]) -> bool:
        """False if these are taken."""
        if self._chunks is None:
            return False
        self._chunks += chunks
        return True

    def take(self) -> list[Chunk]:
        chunks, self._chunks = self._chunks or [], None
        return chunks


class Untaken:
    """By topic, what its agent has not taken yet. What comes until then joins it, so an agent is at most one message behind.

    Only the message keeps them alive: Faust may clear an agent's queue, and drops what is of an assignment that is over.
    """

    def __init__(self) -> None:
        self._of_topic: WeakValueDictionary[str, Chunks] = WeakValueDictionary()

    def add(self, topic: str, chunks: Iterable[Chunk], generation_id: int) -> Chunks | None:
        """What is to be sent in a message; None if they have joined one that is on its way."""
        untaken = self._of_topic.get(topic)
        if untaken is not None and untaken.generation_id == generation_id and untaken.add(chunks):
            return None
        self._of_topic[topic] = new = Chunks(chunks, generation_id)
        return new


class ChunkScheduler:
    """Cuts what a poll brought into chunks and deals them in turn, so that no partition waits for a full one."""

    def __init__(self, records_max: int, bytes_max: int) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Fetched]]:
        waiting = {tp: self._cut(batch) for tp, batch in records.items()}
        while waiting:
            for tp in list(waiting):
                chunk = next(waiting[tp], None)
                if chunk is None:
                    del waiting[tp]
                else:
                    yield tp, chunk

    def _cut(self, records: list[Any]) -> Iterator[Fetched]:
        start = size = 0
        begin, connection = getattr(records, "begin", None), getattr(records, "connection", 0)
        for index, record in enumerate(records):
            value_bytes = len(record.value or b"")
            size += value_bytes
            if index > start and (index - start >= self._records_max or size > self._bytes_max):
                yield Fetched(records[start:index], begin, record.offset, connection)
                start, size, begin = index, value_bytes, record.offset
        yield Fetched(records[start:], begin, getattr(records, "end", None), connection)
