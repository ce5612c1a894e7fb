"""The seam between the sink actor and the ways to reach a component: what a delivery is, what a sink promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import StrEnum
from typing import Protocol

import msgspec

from tables.model import Head, Version


class Delivery(msgspec.Struct, frozen=True):
    """One update for one component: a CloudEvent, rendered. Made by `agents/delivery.py` from state alone, so it can be repeated.

    `attributes` are the CloudEvents context attributes of the accepted event (id, source, type, specversion, …) with the door's
    extensions and `smartifact`, `smversion`, `smdigest`, `smgeneration`, `smkey`. `data` is its payload.
    """

    component: str
    artifact: str
    generation: int
    version: str
    digest: str | None
    attributes: dict[str, str]
    data: bytes
    content_type: str

    @property
    def key(self) -> str:
        """The idempotency key: `<artifact key>@<generation>/<component>`."""
        return f"{self.artifact}@{self.generation}/{self.component}"


class Held(Exception):
    """The delivery may not begin any more: it was held, or nobody knows whether it is. Nothing has been sent."""


def _no_objection() -> None:
    return


#: Of the attempt under way, which is a task: raises Held when it may not begin any more.
before_first_byte: ContextVar[Callable[[], None]] = ContextVar("before_first_byte", default=_no_objection)


class Sink(Protocol):
    """Reaches one component. Concurrent calls are for different artifacts; calls for one artifact come one after the other."""

    async def deliver(self, delivery: Delivery) -> None:
        """Return only when the component has said that it has the update (2xx, PubAck, reply).

        Raises Retriable (away, busy, time-out; with `retry_after_s` where it told one) or Rejected (a permanent answer).
        Anything else is a bug, is logged as such, and counts as Retriable. A delivery may be repeated: after any doubt it is.
        A sink that has to connect first calls `before_first_byte` when it has, and lets Held through.
        """

    async def aclose(self) -> None: ...


class Result(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"


class Receipt(msgspec.Struct, frozen=True):
    """What became of one attempt; goes back into the artifact actor's mailbox. Lost receipts only cost a repeated delivery.

    `covers` is how many desired generations the attempt settles if delivered: all that were pending when it was read for mode
    `latest` (all but one are superseded by it), one for mode `every`. `after` is the delivered generation that the attempt came
    after: when that one is not in the state yet, its own receipt got lost, and both are delivered again.
    """

    artifact: str
    component: str
    generation: int
    version: str
    result: Result
    at_ms: int
    covers: int = 1
    after: int = 0
    error: str = ""
    retry_after_s: float | None = None


class PartitionView(Protocol):
    """What a sink actor may see of a partition: committed state only, and the mailbox for its receipts."""

    partition: int

    def head(self, artifact: str) -> Head | None: ...

    def version(self, artifact: str, version: str) -> Version | None: ...

    def versions_after(self, artifact: str, generation: int) -> Iterator[tuple[int, str]]:
        """(generation, version), oldest first. An entry is stale when the version's own generation is another: skip it."""

    def heads(self, after: str = "") -> Iterator[tuple[str, Head]]: ...

    async def receive(self, receipt: Receipt) -> None:
        """Waits while the mailbox is full. Does nothing once the partition is revoked."""
