"""The engines of the hot path: how each is started, where its outputs are, and how anybody can see that it has done everything.

How far an engine is, is the number of audit records that a reader of committed records can see; each event has one. A transaction's own
marker counts as a record there, some per mille, which can only make a transactional engine's warm-up seem longer. So its end is not
counted: it is there when the input position that it commits *within* its transactions is the input's end.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks import product
from benchmarks.environments import kafka_streams_command, quix_python
from benchmarks.log import Log
from gateway.local.process import Child
from streams.topics import Topics

#: What each peer writes; `portal` and `store` are the two components.
OUTPUTS = ("portal", "store", "audit")


@dataclass(frozen=True)
class Input:
    """A topic `<prefix>.events` that holds a workload of so many events."""

    prefix: str
    partitions: int
    events: int

    @property
    def topic(self) -> str:
        return Topics(self.prefix).events


class Run(Protocol):
    """One engine on one input, from nothing. `updates` is a topic with one record per event for one component."""

    child: Child
    audit: str
    updates: str

    async def prepare(self, log: Log) -> None: ...

    async def done(self, log: Log) -> bool:
        """Asked when there are as many audit records as events, or more."""


class Ours:
    """`syncmaster worker`. It reads `<prefix>.events` and nothing else, so what an earlier run wrote beside it is deleted first."""

    def __init__(self, source: Input, directory: Path, number: int, **changes: object) -> None:
        self._source, self._directory = source, directory / f"syncmaster-{number}"
        self._content = product.configuration("", source.prefix, source.partitions, self._directory / "data", **changes)
        topics = Topics(source.prefix)
        self.audit, self.updates = topics.audit, topics.sync(product.LOG_COMPONENTS[0])

    async def prepare(self, log: Log) -> None:
        self._content["kafka"]["bootstrap"] = log.bootstrap
        await log.delete(product.output_topics(product.settings_of(self._content)))
        self.child = product.command("worker", self._content, self._directory)

    async def done(self, log: Log) -> bool:
        topics = Topics(self._source.prefix)
        markers = await product.markers(log, topics, self._source.partitions)
        ends = await log.ends(self._source.topic, self._source.partitions)
        return all(partition in markers and markers[partition].events == end for partition, end in enumerate(ends) if end)


class Peer:
    """An engine that is told everything on its command line and has topics of its own in each run."""

    def __init__(self, name: str, command: list[object], source: Input, directory: Path, number: int) -> None:
        self._name, self._command, self._source = name, command, source
        self._prefix = f"{source.prefix}-{name.replace('_', '-')}-{number}"
        self._directory = directory / f"{name}-{number}"
        self.audit, self.updates = f"{self._prefix}.audit", f"{self._prefix}.portal"
        self._extra: list[str] = []

    async def prepare(self, log: Log) -> None:
        outputs = [f"{self._prefix}.{name}" for name in (*OUTPUTS, "changelog")]
        await log.create(outputs, self._source.partitions)
        shutil.rmtree(self._directory, ignore_errors=True)
        state = self._directory / "state"
        state.mkdir(parents=True)
        told = [log.bootstrap, self._source.topic, self._prefix, self._source.partitions, state, *self._extra]
        self.child = Child(self._name, [str(part) for part in (*self._command, *told)], self._directory)

    async def done(self, log: Log) -> bool:
        """A producer without transactions flushes each topic when it likes."""
        ends = [await log.ends(f"{self._prefix}.{name}", self._source.partitions) for name in OUTPUTS]
        return all(sum(end) >= self._source.events for end in ends)


class KafkaStreams(Peer):
    """`guarantee` and `commit_ms` are settings of the same names. A transactional one is done when it has committed the input's end."""

    def __init__(self, name: str, source: Input, directory: Path, number: int, *, guarantee: str, commit_ms: int) -> None:
        super().__init__(name, [*kafka_streams_command()], source, directory, number)
        self._guarantee, self._extra = guarantee, [guarantee, str(commit_ms)]

    async def done(self, log: Log) -> bool:
        if self._guarantee == "at_least_once":
            return await super().done(log)
        return await log.group_offsets(self._prefix, self._source.topic) >= self._source.events


@dataclass(frozen=True)
class Engine:
    """`speed` is about how many events per second it does on a small machine: it decides how many of the input it is given."""

    name: str
    speed: int
    start: Callable[[Input, Path, int], Run]
    does_the_work: bool = field(default=True)


def _python(name: str, command: Callable[[], object]) -> Callable[[Input, Path, int], Run]:
    module = f"benchmarks.peers.{name}"
    return lambda source, directory, number: Peer(name, [command(), "-m", module], source, directory, number)


def _java(name: str, guarantee: str, commit_ms: int) -> Callable[[Input, Path, int], Run]:
    return lambda *run: KafkaStreams(name, *run, guarantee=guarantee, commit_ms=commit_ms)


#: Kafka Streams commits every 100 ms with exactly-once, by default, and every 30 s without, in which time this run would be over before
#: the changelog had anything. A second is what its documentation's advice comes to: longer for throughput, as latency allows.
ENGINES = (
    Engine("syncmaster", 50_000, Ours),
    Engine("stock_faust", 1_000, _python("stock_faust", lambda: sys.executable)),
    Engine("quix_streams", 15_000, _python("quix_streams", quix_python)),
    Engine("kafka_streams_eos", 50_000, _java("kafka_streams_eos", "exactly_once_v2", 1000)),
    Engine("kafka_streams_eos_100ms", 50_000, _java("kafka_streams_eos_100ms", "exactly_once_v2", 100)),
    Engine("kafka_streams_alos", 50_000, _java("kafka_streams_alos", "at_least_once", 1000)),
    Engine("floor", 150_000, _python("floor", lambda: sys.executable), does_the_work=False),
)
