"""Over which connection records were fetched, as a number per topic-partition that rises when it is another one.

A log loses its tail only while nobody can be connected to it: a broker that starts again, or a leader that is another broker now. What grows
there meanwhile may fill the place of what is lost, up to where a reader was; then no offset is out of range, and it reads on behind
records that it has never seen. Nothing in a fetch tells that, but that the connection is a new one. Whoever reads for longer than one
look begins again then, and compares what stands before its position with what stood there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher, FetchResult

from streams.errors import Away

Fetch = Callable[[Any, int, Any], Awaitable[bool]]


class NotedFetches(dict[TopicPartition, Any], ABC):
    """A fetcher's results, instead of its own dictionary; `note` is told of each before anybody sees it. Leans on private names of aiokafka.

    Records stay as they come out of their batch (offset, key, value, headers, timestamp): the copy that aiokafka makes of each, to add topic
    and partition, is more than half of what consuming one costs.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        super().__init__()
        self.connections = Connections(fetcher._client)
        fetcher._records = self
        fetcher._proc_fetch_request = self.connections.noting(fetcher._proc_fetch_request)

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:
        if isinstance(fetched, FetchResult):
            fetched._partition_records._consumer_record = _as_it_is
            if not self.note(tp, fetched, self.connections.of_fetch(tp)):
                return
        super().__setitem__(tp, fetched)

    @abstractmethod
    def note(self, tp: TopicPartition, fetched: FetchResult, connection: int) -> bool:
        """Whether it is to be kept."""


def _as_it_is(_: TopicPartition, record: Any) -> Any:
    return record


class FirstConnections(NotedFetches):
    """Whether anything came over another connection than the first of its topic-partition since `begin`."""

    def __init__(self, fetcher: Fetcher) -> None:
        super().__init__(fetcher)
        self.begin()

    def begin(self) -> None:
        self._first: dict[TopicPartition, int] = {}
        self.has_changed = False

    def note(self, tp: TopicPartition, fetched: FetchResult, connection: int) -> bool:
        self.has_changed |= self._first.setdefault(tp, connection) != connection
        return True


class Connections:
    def __init__(self, client: Any) -> None:
        self._client = client
        self._known: dict[TopicPartition, tuple[AIOKafkaConnection | None, int]] = {}
        self._fetch: ContextVar[tuple[int, AIOKafkaConnection | None]] = ContextVar("fetch")

    def noting(self, fetch: Fetch) -> Fetch:
        """The fetcher's request, which from now on notes the connection that it begins with."""

        async def noted(assignment: Any, node: int, request: Any) -> bool:
            await self._client.ready(node)  # connects, as the request would
            self._fetch.set((node, self._connection(node)))
            return await fetch(assignment, node, request)

        return noted

    def of_fetch(self, tp: TopicPartition) -> int:
        """Of the response that is at hand. One during which the connection changed is of neither: the next is another again."""
        node, before = self._fetch.get()
        after = self._connection(node)
        return self._number(tp, after if after is before else None)

    async def made(self, tp: TopicPartition) -> int:
        """Of what is fetched from now on; connects where necessary. Raises Away."""
        node = self._client.cluster.leader_for_partition(tp)
        if node is None or node < 0 or not await self._client.ready(node):
            raise Away(f"{tp.topic}[{tp.partition}] has no leader that can be reached")
        return self._number(tp, self._connection(node))

    def _connection(self, node: int) -> AIOKafkaConnection | None:
        connection = self._client._conns.get((node, ConnectionGroup.DEFAULT))
        return connection if connection is not None and connection.connected() else None

    def _number(self, tp: TopicPartition, connection: AIOKafkaConnection | None) -> int:
        last, number = self._known.get(tp, (None, 0))
        if connection is None or connection is not last:
            self._known[tp] = last, number = connection, number + 1
        return number
