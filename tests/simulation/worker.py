"""One worker process of the simulation: the real partitions, actors and sink actors, over a consumer and a group in memory.

The group is Kafka's as Faust uses it: heartbeats, sessions, eager rebalances; whoever was away for a session finds out when it asks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from agents.hold_watch import HoldWatch
from agents.partitions import Partitions
from agents.rules import Rules
from agents.sinks.actor import SinkActor
from agents.sinks.base import Delivery
from streams.chunks import Chunk
from streams.control_reader import ControlReader
from streams.errors import Away
from streams.log_reader import TP
from streams.partition import partition_of
from streams.settings import LogSink, Settings
from tests.holding import FakeControl
from tests.simulation.log import Entry, PartitionLog, SimulatedLog
from tests.simulation.log_clients import SimulatedReader, SimulatedWriter
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.stores import MemoryDatabase, MemoryStores
from tests.simulation.stream import EPOCH_S
from tests.simulation.wire import Lost, Wire

_HEARTBEAT_S = 0.6
#: How long a fetched chunk may lie before the agent hands it over.
_AGENT_BUSY_S = 1.5


class Group:
    """The coordinator. `sessions` are when each member was last heard of."""

    def __init__(self, loop: SimulatedLoop, partitions: int, session_s: float) -> None:
        self._loop = loop
        self._partitions = partitions
        self._session_s = session_s
        self.sessions: dict[str, float] = {}
        self._joined: dict[str, None] = {}
        self._is_balanced = True
        self._deadline_s = 0.0
        self.generation = 0
        self.assignment: dict[str, tuple[list[int], list[int]]] = {}

    def heartbeat(self, member: str, generation: int) -> bool:
        """Whether the member may go on as it is; otherwise it has to join again."""
        self.look()
        if member not in self.sessions:
            return False
        self.sessions[member] = self._loop.time()
        return self._is_balanced and generation == self.generation

    def join(self, member: str) -> tuple[int, tuple[list[int], list[int]]] | None:
        """The generation and the member's partitions once all have joined; asked again until then."""
        self.look()
        if self._is_balanced and member in self._joined and member in self.assignment:
            return self.generation, self.assignment[member]
        if self._is_balanced:
            self._rebalance()
        self.sessions[member] = self._loop.time()
        self._joined[member] = None
        self.look()
        return (self.generation, self.assignment[member]) if self._is_balanced else None

    def leave(self, member: str) -> None:
        if self.sessions.pop(member, None) is not None:
            self._rebalance()

    def look(self) -> None:
        late = [m for m, heard_s in self.sessions.items() if self._loop.time() - heard_s > self._session_s]
        for member in late:
            del self.sessions[member]
        if late:
            self._rebalance()
        if not self._is_balanced and self._joined:
            waited_for = self.sessions.keys() - self._joined.keys()
            if not waited_for or self._loop.time() > self._deadline_s:
                self._balance()

    def _rebalance(self) -> None:
        if self._is_balanced:
            self._deadline_s = self._loop.time() + self._session_s
        self._is_balanced, self._joined = False, {}

    def _balance(self) -> None:
        members = sorted(self._joined)
        self._loop.random.shuffle(members)
        self.assignment = {member: ([], []) for member in members}
        for partition in range(self._partitions):
            self.assignment[members[partition % len(members)]][0].append(partition)
            if len(members) > 1:
                self.assignment[members[(partition + 1) % len(members)]][1].append(partition)
        self.sessions = dict.fromkeys(members, self._loop.time())
        self.generation += 1
        self._is_balanced = True


class Consumer:
    """The shared consumer (`agents.partitions.Positions`). What was fetched before a seek may still arrive after it."""

    def __init__(self, log: SimulatedLog, wire: Wire) -> None:
        self._log = log
        self._wire = wire
        self._positions: dict[TP, int] = {}
        self._seeks: dict[TP, int] = {}
        self._fetchers: dict[TP, asyncio.Task[None]] = {}
        self._paused: set[TP] = set()
        self._news: dict[TP, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.partitions: Partitions | None = None
        self.ask_group: Callable[[], bool] = lambda: False

    async def is_member(self) -> bool:
        try:
            return await self._wire.ask(self.ask_group)
        except Lost:
            return False

    async def connections(self, tps: Iterable[TP]) -> dict[TP, int]:
        try:
            number = await self._wire.ask(lambda: self._log.losses)
        except Lost as exc:
            raise Away("no answer") from exc
        return dict.fromkeys(tps, number)

    async def seek(self, positions: Mapping[TP, int]) -> None:
        await asyncio.sleep(self._wire.latency_s())
        for tp, position in positions.items():
            self._positions[tp] = position
            self._seeks[tp] = self._seeks.get(tp, 0) + 1
            self._paused.discard(tp)
            if tp not in self._fetchers:
                self._news[tp] = asyncio.Event()
                self._fetchers[tp] = asyncio.create_task(self._fetch(tp))
            self._news[tp].set()

    def rewind(self, topic: str, partition: int, offset: int) -> None:
        task = asyncio.ensure_future(self.seek({TP(topic, partition): offset}))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def full(self, topic: str, partition: int) -> None:
        self._paused.add(TP(topic, partition))

    def drained(self, topic: str, partition: int) -> None:
        tp = TP(topic, partition)
        self._paused.discard(tp)
        if tp in self._news:
            self._news[tp].set()

    def finished(self, topic: str, partition: int, next_offset: int) -> None:
        """For lag displays only."""

    def revoked(self) -> None:
        """Nothing more is fetched until the next seek; what was fetched may be thrown away, as Faust does, or still come."""
        for tp in self._positions:
            self._seeks[tp] += 1
        self._positions.clear()
        self._paused.clear()

    async def _fetch(self, tp: TP) -> None:
        random, news, log = self._wire.loop.random, self._news[tp], self._log.partition(tp)
        while True:
            position, seeks = self._positions.get(tp), self._seeks[tp]
            if position is not None and position > log.end:
                position = self._positions[tp] = log.beginning  # auto_offset_reset
            if position is None or tp in self._paused or not position < log.stable:
                news.clear()
                self._log.on_append([tp], news.set)
                await news.wait()
                continue
            try:
                entries, behind, connection = await self._wire.ask(self._read, log, position, random.choice((1, 2, 5, 100)))
            except Lost:
                continue
            if self._seeks[tp] == seeks:
                self._positions[tp] = behind
            await asyncio.sleep(random.random() * (_AGENT_BUSY_S if random.random() < 0.25 else 0.02))
            if entries and (self._seeks[tp] == seeks or random.random() < 0.8):
                assert self.partitions is not None
                self.partitions.offer(Chunk(tp.topic, tp.partition, entries, connection=connection))

    def _read(self, log: PartitionLog, position: int, records_max: int) -> tuple[list[Entry], int, int]:
        """Whoever loses its tail cuts its connections."""
        return *log.read(position, records_max), self._log.losses


class Got(NamedTuple):
    """`by_owner`: nobody had fenced the sender when it arrived."""

    artifact: str
    generation: int
    version: str
    by_owner: bool


class Component:
    """What a component has got, in the order of arrival. `answer` may raise what a sink would."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.got: list[Got] = []
        self.begun: list[tuple[float, str]] = []  # each attempt: when it began, for which artifact
        self.answer: Callable[[], None] = lambda: None

    def take(self, delivery: Delivery, is_owner: Callable[[str], bool]) -> None:
        self.answer()
        self.got.append(Got(delivery.artifact, delivery.generation, delivery.version, is_owner(delivery.artifact)))


class SimulatedSink:
    def __init__(self, component: Component, wire: Wire, is_owner: Callable[[str], bool]) -> None:
        self._component = component
        self._wire = wire
        self._is_owner = is_owner

    async def deliver(self, delivery: Delivery) -> None:
        self._component.begun.append((self._wire.loop.time(), delivery.artifact))
        try:
            await self._wire.ask(self._component.take, delivery, self._is_owner)
        except Lost as exc:
            raise Away("no answer") from exc

    async def aclose(self) -> None:
        return


class SinkClock:
    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return int((EPOCH_S + self._loop.time()) * 1000)

    async def wait(self, event: asyncio.Event, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return


class Worker:
    """`process` runs it; `disk` outlives it."""

    def __init__(
        self,
        name: str,
        *,
        loop: SimulatedLoop,
        settings: Settings,
        rules: Rules,
        log: SimulatedLog,
        kafka: Wire,
        group: Group,
        components: Mapping[str, Component],
        wire: Wire,
        disk: dict[int, MemoryDatabase],
        follows_control: bool = False,
    ) -> None:
        self.name = name
        self.process = Process(name, loop)
        self.disk = disk
        self._loop = loop
        self._settings = settings
        self._kafka = kafka
        self._group = group
        self._log = log
        self.consumer = Consumer(log, kafka)
        clock = SinkClock(loop)
        self.control = self._follow_control() if follows_control else FakeControl()
        watch = HoldWatch(self.control, clock_s=loop.time)
        self.stores = MemoryStores(disk, loop.random)
        self.sinks = {
            component.name: SinkActor(
                component.name,
                settings.components[component.name],
                SimulatedSink(component, wire, self._is_owner),
                rules.routing,
                watch,
                clock=clock,
                jitter=loop.random.random,
            )
            for component in components.values()
            if not isinstance(settings.components[component.name].sink, LogSink)
        }
        self.partitions = Partitions(
            settings,
            rules=rules,
            stores=self.stores,  # type: ignore[arg-type]
            positions=self.consumer,
            sinks=self.sinks,
            watch=watch,
            make_writer=self._make_writer,  # type: ignore[arg-type]
            make_reader=lambda **_: SimulatedReader(log, kafka),  # type: ignore[arg-type, return-value]
            clock=clock.now_ms,
        )
        self.consumer.partitions = self.partitions
        self.consumer.ask_group = lambda: self._group.heartbeat(self.name, self._generation)
        self.has_left = False
        self.revoke_s_max = 0.0
        self._generation = 0
        self._running = self.process.spawn(self._run())

    def _follow_control(self) -> ControlReader:
        reader: Any = partial(SimulatedReader, self._log, self._kafka)
        return ControlReader(self._settings.kafka, make_reader=reader, clock_s=self._loop.time)

    def _make_writer(self, ident: str) -> SimulatedWriter:
        return SimulatedWriter(self._log, self._kafka, ident, self.name)

    def _is_owner(self, artifact: str) -> bool:
        return self.is_owner_of(partition_of(artifact.encode(), self._settings.kafka.partitions))

    def is_owner_of(self, partition: int) -> bool:
        """Nobody else has fenced this worker from the partition."""
        return self._log.holder(f"{self._settings.kafka.topic_prefix}.{partition}") == self.name

    async def _run(self) -> None:
        if isinstance(self.control, ControlReader):
            await self.control.start()
        for sink in self.sinks.values():
            await sink.start()
        await self._join()
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            try:
                if not await self._kafka.ask(self._group.heartbeat, self.name, self._generation):
                    await self._rejoin()
            except Lost:
                continue

    async def leave(self) -> None:
        """A planned stop: turns finish, then the group is told."""
        if self.has_left:
            return
        self.has_left = True
        self._running.cancel()
        await self.partitions.aclose(5.0)
        for sink in self.sinks.values():
            await sink.aclose()
        if isinstance(self.control, ControlReader):
            await self.control.aclose()
        self.consumer.revoked()
        with contextlib.suppress(Lost):
            await self._kafka.ask(self._group.leave, self.name)

    async def _rejoin(self) -> None:
        self.consumer.revoked()
        started_s = self._loop.time()
        await self.partitions.revoke(self._settings.kafka.session_timeout_s / 2)
        self.revoke_s_max = max(self.revoke_s_max, self._loop.time() - started_s)
        await self._join()

    async def _join(self) -> None:
        while True:
            try:
                assigned = await self._kafka.ask(self._group.join, self.name)
            except Lost:
                assigned = None
            if assigned is not None:
                self._generation, partitions = assigned
                return await self.partitions.assign(*partitions)
            await asyncio.sleep(_HEARTBEAT_S / 4)
