"""How many (artifact, component) pairs are in step, and which are not: an aggregate in memory that follows the heads.

Invariant: for each artifact that has been seen, `_known` holds exactly what it contributes to every count. A change subtracts the
old contribution and adds the new one, so nothing is ever scanned to answer a question. The contributions of artifacts that are in
step are shared (interned); the cost is about 150 bytes for an artifact that is in step, 400 for one that is not.
Rebuilt by a scan at start, which only fills in what no change has brought yet, so the two may run side by side.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from typing import NamedTuple

import msgspec
from sortedcontainers import SortedDict, SortedSet

from tables.model import SEP, Head, SyncState
from tables.queries import decode_head
from tables.store import Stores

_SCAN_KEYS = 500  # between two of which the event loop gets its turn
_INTERNED_MAX = 65_536


class Pair(NamedTuple):
    """What one pair contributes. `since_ms` only while it is out of step, so that others can be shared."""

    component: str
    state: SyncState
    since_ms: int
    deliveries: int
    superseded: int
    command: str


Contribution = tuple[Pair, ...]


class Counts(msgspec.Struct):
    """Of one component."""

    in_sync: int = 0
    behind: int = 0
    failed: int = 0
    deliveries: int = 0
    superseded: int = 0

    def add(self, pair: Pair, sign: int) -> None:
        setattr(self, pair.state, getattr(self, pair.state) + sign)
        self.deliveries += sign * pair.deliveries
        self.superseded += sign * pair.superseded

    @property
    def in_step(self) -> bool:
        return self.behind == 0 and self.failed == 0


class OutOfStep(NamedTuple):
    since_ms: int
    artifact: str
    component: str


class Status:
    """The aggregate. `changed` is the replica's `on_change`; everything runs on one event loop."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._known: dict[int, dict[bytes, Contribution]] = defaultdict(dict)
        self._shared: dict[Contribution, Contribution] = {}
        self._components: dict[str, Counts] = defaultdict(Counts)
        self._oldest: dict[str, SortedSet[tuple[int, bytes]]] = defaultdict(SortedSet)
        self._out: SortedDict[bytes, Contribution] = SortedDict()
        self._commands: dict[str, Counter[SyncState]] = defaultdict(Counter)
        self.kinds: Counter[str] = Counter()

    def changed(self, partition: int, keys: Collection[bytes]) -> None:
        """These heads of the partition have been written or deleted. Keys of other records are ignored."""
        for key in keys:
            if SEP not in key:
                self._refresh(partition, key)

    def forget(self, partition: int) -> None:
        """The partition's store was dropped."""
        for key in list(self._known[partition]):
            self._replace(partition, key, None)

    async def rebuild(self, partition: int) -> None:
        """Take in every head that no change has brought yet."""
        known = self._known[partition]
        for number, (key, _) in enumerate(self._stores[partition].scan("artifacts")):
            if number % _SCAN_KEYS == 0:
                await asyncio.sleep(0)
            if key not in known:
                self._refresh(partition, key)  # reads again: the scan's own value may be older than what was applied since

    def component(self, name: str) -> Counts:
        return self._components.get(name) or Counts()

    def components(self) -> list[str]:
        return sorted(name for name, counts in self._components.items() if counts != Counts())

    def oldest(self, component: str) -> OutOfStep | None:
        return next(self._aged(component), None)

    def most_out_of_step(self, limit: int) -> list[OutOfStep]:
        """The pairs that have been out of step longest."""
        merged = heapq.merge(*(self._aged(component) for component in list(self._oldest)))
        return list(itertools.islice(merged, limit))

    def out_of_step(self, after: bytes = b"") -> Iterator[tuple[str, Contribution]]:
        """Artifacts with a pair that is not in sync, from `after` on (inclusive), in key order."""
        for key in self._out.irange(minimum=after):
            yield key.decode(), self._out[key]

    def by_command(self, command: str) -> Counter[SyncState]:
        """States of the pairs whose last manual sync was this one."""
        return self._commands.get(command) or Counter()

    def _aged(self, component: str) -> Iterator[OutOfStep]:
        for since_ms, key in self._oldest[component]:
            yield OutOfStep(since_ms, key.decode(), component)

    def _refresh(self, partition: int, key: bytes) -> None:
        raw = self._stores[partition].get("artifacts", key)
        self._replace(partition, key, None if raw is None else self._share(_contribution(decode_head(raw))))

    def _replace(self, partition: int, key: bytes, new: Contribution | None) -> None:
        known = self._known[partition]
        old = known.pop(key, None)
        if old == new and old is not None:
            known[key] = old
            return
        if old is not None:
            self._count(key, old, -1)
        if new is not None:
            known[key] = new
            self._count(key, new, +1)

    def _count(self, key: bytes, pairs: Contribution, sign: int) -> None:
        self.kinds[key.partition(b"/")[0].decode()] += sign
        for pair in pairs:
            self._components[pair.component].add(pair, sign)
            if pair.state is not SyncState.IN_SYNC:
                ages = self._oldest[pair.component]
                (ages.add if sign > 0 else ages.discard)((pair.since_ms, key))
            if pair.command:
                self._count_command(pair, sign)
        if sign > 0 and any(pair.state is not SyncState.IN_SYNC for pair in pairs):
            self._out[key] = pairs
        else:
            self._out.pop(key, None)

    def _count_command(self, pair: Pair, sign: int) -> None:
        states = self._commands[pair.command]
        states[pair.state] += sign
        if not +states:
            del self._commands[pair.command]

    def _share(self, pairs: Contribution) -> Contribution:
        if any(pair.since_ms for pair in pairs):
            return pairs
        if len(self._shared) >= _INTERNED_MAX:
            self._shared.clear()  # what is in use stays alive where it is used; only the sharing begins anew
        return self._shared.setdefault(pairs, pairs)


def _contribution(head: Head) -> Contribution:
    return tuple(
        Pair(
            component=name,
            state=pair.state,
            since_ms=0 if pair.state is SyncState.IN_SYNC else pair.since_ms,
            deliveries=pair.deliveries,
            superseded=pair.superseded,
            command=pair.command,
        )
        for name, pair in head.sync.items()
    )
