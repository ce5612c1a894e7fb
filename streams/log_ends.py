"""Whether [events] has lost its tail: a log that ends before an offset that it had given us. What follows from it: `bridge_plan.py`.

A log that shrank may have grown again, by another stream's records, before a stream looks. So one `LogEnds` serves all streams of a
process: every acknowledged append and every look at the ends is compared with the highest end seen, and what was lost is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from streams.errors import Retriable
from streams.ingress import Ingress, Mark
from streams.log_append import Span
from streams.log_reader import TP, LogReader
from streams.log_tail import FETCH_BYTES_LITTLE, newest_of, origin_of, records_at
from streams.settings import Kafka
from streams.together import finish


class Shrunk(Retriable):
    """The log ends before what it had acknowledged. Go back into the grace window."""


class LogAway(Retriable):
    """The log does not answer."""


class Shrinkage(msgspec.Struct, frozen=True):
    """One event of shrinking: the partition, and the first offset that was lost."""

    partition: int
    end: int


class LogEnds:
    def __init__(self, kafka: Kafka, topic: str, make_reader: Callable[[], LogReader] | None = None) -> None:
        self._kafka = kafka
        self._make_reader = make_reader or (
            lambda: LogReader(kafka.bootstrap, request_timeout_s=kafka.request_timeout_s, fetch_bytes_max=FETCH_BYTES_LITTLE)
        )
        self._topic = topic
        self._highest: dict[int, int] = {}
        #: In the order in which they were noticed; a stream remembers how many it has answered. So rare that it needs no bound.
        self.shrinkages: list[Shrinkage] = []

    def highest(self) -> dict[int, int]:
        """The highest end known of each partition, whichever stream it was told to: what is sent now stands behind it."""
        return dict(self._highest)

    def appended(self, before: Mapping[int, int], spans: Mapping[int, Span]) -> None:
        """A stream's append was acknowledged; `before` is what `highest` said when it was sent.

        Nothing later may be compared here: acknowledgements of different streams arrive in any order.
        """
        for partition, span in spans.items():
            if span.first < before.get(partition, 0):
                self._shrank(partition, span.first)
            self._highest[partition] = max(span.end, self._highest.get(partition, 0))

    async def look(self) -> dict[int, int]:
        """Each partition's end now. Raises LogAway."""
        known = dict(self._highest)  # as of before the question: the answer cannot be older
        ends = await finish(self._ask())
        for partition, end in ends.items():
            if end < known.get(partition, 0):
                self._shrank(partition, end)
            self._highest[partition] = max(end, self._highest.get(partition, 0))
        return ends

    async def _ask(self) -> dict[int, int]:
        reader = self._make_reader()
        try:
            await reader.start()
            answer = await reader.ends(TP(self._topic, partition) for partition in range(self._kafka.partitions))
        except Retriable as exc:
            raise LogAway(str(exc)) from exc
        finally:
            await reader.aclose()
        return {tp.partition: end for tp, end in answer.items()}

    async def newest_of(self, stream: str, offsets: Mapping[int, int], ends: Mapping[int, int]) -> Ingress | None:
        """What the log has of a stream behind `offsets`: see `log_tail.py`. Raises LogAway."""
        return await finish(self._newest_of(stream, self._of_topic(offsets), self._of_topic(ends)))

    async def _newest_of(self, stream: str, since: Mapping[TP, int], ends: Mapping[TP, int]) -> Ingress | None:
        reader = self._make_reader()
        try:
            await reader.start()
            return await newest_of(reader, stream, since, ends)
        except Retriable as exc:
            raise LogAway(str(exc)) from exc
        finally:
            await reader.aclose()

    async def replaced(self, stream: str, offsets: Mapping[int, int], marks: Mapping[int, Mark]) -> dict[int, int]:
        """Partitions that do not have the stream's record of that mark right before the offset, with the record's offset. Raises LogAway.

        Such a log has lost its tail and has grown again. By the bridge's invariant everything of the stream before the mark is there if
        the mark is. The offsets must not be beyond the log's ends; what retention has taken cannot be told, and is not returned.
        """
        wanted = {TP(self._topic, partition): offsets[partition] - 1 for partition in marks}
        return await finish(self._replaced(stream, wanted, marks))

    async def _replaced(self, stream: str, wanted: dict[TP, int], marks: Mapping[int, Mark]) -> dict[int, int]:
        reader = self._make_reader()
        try:
            await reader.start()
            beginnings = await reader.beginnings(wanted)
            found = await records_at(reader, {tp: offset for tp, offset in wanted.items() if offset >= beginnings[tp]})
        except Retriable as exc:
            raise LogAway(str(exc)) from exc
        finally:
            await reader.aclose()
        origins = {tp: Ingress.decode(raw.encode()) if (raw := origin_of(record)) else None for tp, record in found.items()}
        is_there = {tp: o is not None and (o.stream, o.mark) == (stream, marks[tp.partition]) for tp, o in origins.items()}
        return {tp.partition: wanted[tp] for tp, there in is_there.items() if not there}

    def _of_topic(self, offsets: Mapping[int, int]) -> dict[TP, int]:
        return {TP(self._topic, partition): offset for partition, offset in offsets.items()}

    def lost(self, offsets: Mapping[int, int], ends: Mapping[int, int], answered: int) -> dict[int, int]:
        """Partitions whose log lost records below `offsets`, with its end: now, or in a shrinkage not yet answered."""
        lowest = dict(ends)
        for shrinkage in self.shrinkages[answered:]:
            lowest[shrinkage.partition] = min(shrinkage.end, lowest.get(shrinkage.partition, shrinkage.end))
        return {p: lowest.get(p, 0) for p, offset in offsets.items() if lowest.get(p, 0) < offset}

    def _shrank(self, partition: int, end: int) -> None:
        self.shrinkages.append(Shrinkage(partition, end))
        self._highest[partition] = end
