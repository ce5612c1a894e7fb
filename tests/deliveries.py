"""Stand-ins for delivery tests: a sink in memory, a partition with its mailbox, a clock that the test moves, updates to deliver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from agents.backoff import Backoff
from agents.routing import Mode, Routing
from agents.sinks.base import Delivery, Receipt
from agents.sync_state import apply_event, desire, receive
from streams.events import Action
from streams.ingress import Ingress
from streams.settings import Settings
from tables.model import Head, Provenance, Version

INGRESS = Ingress("SM_IN_c24", 1, 1, 0, 1_700_000_000_000, "nats", "c24", "test")


def delivery(artifact: str = "chart/argo-cd", generation: int = 1, component: str = "c", **attributes: str) -> Delivery:
    own = {"specversion": "1.0", "id": f"e{generation}", "source": "/c24", "type": "dev.cdevents.artifact.published.0.2.0"}
    data = b'{"name": "argo-cd"}'
    return Delivery(component, artifact, generation, f"{generation}.0.0", None, own | attributes, data, "application/json")


def accepted(version: str, generation: int, **fields: Any) -> Version:
    """A version as the engine stores it, of a CDEvents event."""
    body = {
        "specversion": "1.0",
        "id": f"e{generation}",
        "source": "/c24",
        "type": "dev.cdevents.artifact.published.0.2.0",
        "data": {"version": version},
    }
    raw = msgspec.Raw(msgspec.json.encode(body | fields))
    return Version(generation, None, Action.PUBLISHED, INGRESS.encode().decode(), {}, raw)


class ScriptedSink:
    """Takes what it gets, unless told otherwise. Each call asks `answer`, which may wait or raise."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []
        self.calls: list[Delivery] = []
        self.under_way: list[str] = []
        self.at_once_max = 0
        self.closed = False
        self.answer: Callable[[Delivery], Any] = lambda _: None

    async def deliver(self, delivery: Delivery) -> None:
        assert delivery.artifact not in self.under_way, "two attempts for one artifact at once"
        self.calls.append(delivery)
        self.under_way.append(delivery.artifact)
        self.at_once_max = max(self.at_once_max, len(self.under_way))
        try:
            result = self.answer(delivery)
            if asyncio.iscoroutine(result):
                await result
            self.got.append(delivery)
        finally:
            self.under_way.remove(delivery.artifact)

    async def aclose(self) -> None:
        self.closed = True

    def versions_of(self, artifact: str) -> list[str]:
        return [delivery.version for delivery in self.got if delivery.artifact == artifact]


class HandClock:
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self.ms = 1_000_000
        self._moved = asyncio.Event()

    def now_ms(self) -> int:
        return self.ms

    def advance(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait(self, event: asyncio.Event, timeout_s: float | None) -> None:
        until_ms = None if timeout_s is None else self.ms + timeout_s * 1000
        while not event.is_set() and (until_ms is None or self.ms < until_ms):
            waits = [asyncio.ensure_future(waiter.wait()) for waiter in (event, self._moved)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiter in waits:
                    waiter.cancel()


class Partition:
    """A partition's committed state and its mailbox. Receipts take effect at once, or at `commit` when `holds_receipts`."""

    def __init__(self, routing: Routing, clock: HandClock, partition: int = 0) -> None:
        self.partition = partition
        self.receipts: list[Receipt] = []
        self.holds_receipts = False
        self.listeners: list[Any] = []
        self.scans = 0
        self.broken = False
        self._routing = routing
        self._clock = clock
        self._mailbox: list[Receipt] = []
        self._heads: dict[str, Head] = {}
        self._versions: dict[tuple[str, str], Version] = {}
        self._index: dict[str, list[tuple[int, str]]] = {}

    def publish(self, artifact: str, *versions: str, told: bool = True) -> None:
        """Accepted events, folded as the engine does it, in one commit."""
        for version in versions:
            before = self._heads.get(artifact)
            generation = before.generation + 1 if before else 1
            targets = self._routing.targets(artifact)
            sync = apply_event(before.sync if before else {}, targets, generation, version, version, self._clock.ms)
            cause = Provenance("e", "/c24", "t", "c24", "s", (1, generation, 0), 0, "test")
            self._heads[artifact] = Head(version, None, generation, cause, sync=sync)
            self._versions[artifact, version] = accepted(version, generation)
            self._index.setdefault(artifact, []).append((generation, version))
        if told:
            self._tell(artifact)

    def sync_now(self, artifact: str) -> None:
        """A manual sync of every component, as the engine does it."""
        head = self._heads[artifact]
        generation = head.generation + 1
        syncs = {
            target.component: desire(
                head.sync.get(target.component),
                generation=generation,
                version=head.version,
                now_ms=self._clock.ms,
                mode=target.mode,
                command="c",
            )
            for target in self._routing.targets(artifact)
        }
        self._heads[artifact] = msgspec.structs.replace(head, generation=generation, sync=syncs)
        self._tell(artifact)

    def commit(self) -> None:
        mailbox, self._mailbox = self._mailbox, []
        for receipt in mailbox:
            self._apply(receipt)

    def lose_receipts(self) -> None:
        self._mailbox.clear()

    def head(self, artifact: str) -> Head | None:
        if self.broken:
            raise RuntimeError("the store is broken")
        return self._heads.get(artifact)

    def version(self, artifact: str, version: str) -> Version | None:
        return self._versions.get((artifact, version))

    def versions_after(self, artifact: str, generation: int) -> Iterator[tuple[int, str]]:
        return (entry for entry in self._index.get(artifact, []) if entry[0] > generation)

    def heads(self, after: str = "") -> Iterator[tuple[str, Head]]:
        self.scans += 1
        return ((key, self._heads[key]) for key in sorted(self._heads) if key > after)

    async def receive(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        if self.holds_receipts:
            self._mailbox.append(receipt)
        else:
            self._apply(receipt)

    def _apply(self, receipt: Receipt) -> None:
        head = self._heads[receipt.artifact]
        mode: Mode = next(t.mode for t in self._routing.targets(receipt.artifact) if t.component == receipt.component)
        backoff = Backoff(1.0, 300.0, lambda: 1.0)
        verdict = receive(head.sync.get(receipt.component), receipt, backoff=backoff, now_ms=self._clock.ms, mode=mode)
        if verdict.sync is not None:
            self._heads[receipt.artifact] = msgspec.structs.replace(head, sync={**head.sync, receipt.component: verdict.sync})
            self._tell(receipt.artifact)

    def _tell(self, artifact: str) -> None:
        for listener in self.listeners:
            listener.changed(self.partition, [artifact])


def routed(
    mode: Mode = "latest", *, in_flight_max: int = 4, components: Iterable[str] = ("c",), newest: str = "accepted"
) -> Settings:
    """Settings with one route that brings every artifact to the components."""
    sink = {"type": "http", "url": "http://127.0.0.1:1/events"}
    shared = {"sink": sink, "in_flight_max": in_flight_max, "backoff_s_min": 1, "backoff_s_max": 300}
    return Settings.model_validate(
        {
            "cluster": "test",
            "components": dict.fromkeys(components, shared),
            "routes": [{"name": "all", "match": {"artifacts": ["*"]}, "to": list(components), "mode": mode, "newest": newest}],
        }
    )


async def wait_until(condition: Callable[[], bool], *, what: str = "", within_s: float = 5.0) -> None:
    """Wait for a condition; fails, saying what was waited for, when the time is up."""
    deadline_s = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline_s, f"not within {within_s} s: {what or condition}"
        await asyncio.sleep(0.001)


async def settle_down() -> None:
    """Let everything that can run now run: many turns of the loop, no time."""
    for _ in range(200):
        await asyncio.sleep(0)
