"""What a consumer has fetched and nobody has taken yet: the next fetch does not wait for that.

aiokafka sends a broker no further fetch as long as somebody has not taken what the last one brought. Whoever takes it is the engine's loop, on
another thread and busy: so every record was a round of that loop late, and the broker idle meanwhile. Here records are
unpacked when they arrive, and the position moves behind them; the next fetch is sent at once, until `RECORDS_MANY` wait.

Leans on private names of aiokafka. What is unpacked belongs to the position that it was fetched for: after a seek it is dropped, and what comes
for a topic-partition that something else is kept for (over another connection, an error) is left to be fetched again. Should a hole
come of it all the same, the mailbox sees it, as it does any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher, FetchResult

from streams.fetched_over import NotedFetches

#: Of one topic-partition. More are worth a chunk, and whoever takes it is behind.
RECORDS_MANY = 500


class Fetched(list[Any]):
    """Records, the positions before and behind them (there may be markers of transactions on both sides), and the connection's number."""

    def __init__(self, records: Iterable[Any], begin: int | None, end: int | None, connection: int) -> None:
        super().__init__(records)
        self.begin = begin
        self.end = end
        self.connection = connection


class FetchedAhead(NotedFetches):
    """A fetcher's results. Each holds the records that wait, unpacked; the fetcher is shown only those that are many."""

    def __init__(self, fetcher: Fetcher) -> None:
        super().__init__(fetcher)
        self._waiting: dict[TopicPartition, Fetched] = {}
        self._full: set[TopicPartition] = set()
        self._unseen: dict[TopicPartition, tuple[int, int]] = {}  # read and found to have no record, from there to there

    def __contains__(self, tp: object) -> bool:
        """Asked by the fetcher when it plans the next fetch."""
        return super().__contains__(tp) and (tp not in self._waiting or tp in self._full)

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:
        if isinstance(fetched, FetchResult) or tp not in self._waiting:  # an error will come again, records would not
            super().__setitem__(tp, fetched)

    def __delitem__(self, tp: TopicPartition) -> None:
        super().__delitem__(tp)
        self._forget(tp)

    def clear(self) -> None:
        super().clear()
        self._waiting.clear()
        self._full.clear()

    def note(self, tp: TopicPartition, fetched: FetchResult, connection: int) -> bool:
        """Unpacks it; its position moves behind the records. Not kept: what has none, or came over another connection than those that wait."""
        read, waiting = fetched._partition_records, self._waiting.get(tp)
        begin = read.next_fetch_offset
        if waiting is not None and waiting.end != begin:  # there was a seek
            self._forget(tp)
            waiting = None
        if waiting is not None and waiting.connection != connection:
            self._full.add(tp)
            return False
        records = fetched.getall()
        unseen_from, unseen_to = self._unseen.pop(tp, (begin, begin))
        begin = unseen_from if unseen_to == begin else begin
        if not records:
            self._unseen[tp] = (begin, read.next_fetch_offset)
            return False
        if waiting is None:
            waiting = self._waiting[tp] = Fetched(records, begin, read.next_fetch_offset, connection)
        else:
            waiting += records
            waiting.end = read.next_fetch_offset
        if len(waiting) >= RECORDS_MANY:
            self._full.add(tp)
        fetched.getall = partial(self._take, tp, fetched)
        return True

    def _take(self, tp: TopicPartition, fetched: FetchResult, _records_max: int | None = None) -> list[Any]:
        """All that waits; nothing after a seek, or once the partition is somebody else's."""
        records = self._waiting.get(tp)
        self._forget(tp)
        if records is None or not fetched._assignment.active:
            return []
        state = fetched._assignment.state_value(tp)
        return records if state.has_valid_position and state.position == records.end else []

    def _forget(self, tp: TopicPartition) -> None:
        self._waiting.pop(tp, None)
        self._full.discard(tp)
