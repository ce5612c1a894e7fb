"""Everything of one run: log, JetStream, components, producers, and the processes between them. What happens to them: `schedule.py`."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any

import msgspec

from agents.rules import Rules
from streams.bridge import keep_serving
from streams.bridge_plan import Checkpoint
from streams.bridge_stream import StreamBridge
from streams.commands import Command, CommandVerb
from streams.control import Hold, control_key
from streams.log_ends import LogAway, LogEnds
from streams.log_reader import TP
from streams.nats_streams import CHECKPOINTS, LEASES, bucket_config, stream_config, stream_name
from streams.partition import partition_of
from streams.settings import Settings
from streams.topics import Topics
from tables.model import LOT_PREFIX, PARKED_PREFIX, Kept, Lot, Quarantined, quarantine_key, split_key
from tests.simulation.log import SimulatedLog
from tests.simulation.log_clients import SimulatedReader
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.schedule import Schedule
from tests.simulation.stores import MemoryDatabase
from tests.simulation.stream import EPOCH_S, SimulatedJetStream
from tests.simulation.stream_clients import SimulatedClient, SimulatedLinks
from tests.simulation.wire import Lost, Wire
from tests.simulation.worker import Component, Group, Worker

PRINCIPALS = ("c4", "c24")
PARKING = {"name": "not-from-there", "kind": "allow_deny", "action": "quarantine", "sources": {"deny": ["urn:parked"]}}
_LOOK_S = 3.0


@lru_cache
def settings_for(partitions: int, parks: bool = False) -> Settings:
    sink = {"type": "http", "url": "http://127.0.0.1:1/events", "timeout_s": 3.0}
    component = {"sink": sink, "in_flight_max": 4, "backoff_s_min": 0.2, "backoff_s_max": 4.0}
    charts = {"rules": [{"verbs": ["publish"], "artifacts": ["chart/*"]}]}
    images = {"rules": [{"verbs": ["publish"], "artifacts": ["image/*", "chart/shared"]}]}
    return Settings.model_validate(
        {
            "cluster": "sim",
            "kafka": {
                "topic_prefix": "sm",
                "partitions": partitions,
                "session_timeout_s": 2.0,
                "transaction_timeout_s": 4.0,
                "request_timeout_s": 1.0,
            },
            "nats": {"grace_window_s": 30.0, "stream_bytes_max": 1 << 20},
            "bridge": {"lease_ttl_s": 1.5, "pull_messages_max": 3, "pulls_in_flight": 2},
            "worker": {"mailbox_chunks_max": 2, "mailbox_receipts_max": 4},
            "principals": {"c24": {}, "c4": {}},
            "roles": {"charts": charts, "images": images},
            "bindings": [
                {"name": "charts", "role": "charts", "principals": ["c24"]},
                {"name": "images", "role": "images", "principals": ["c4"]},
            ],
            "policies": [PARKING] if parks else [],
            "components": {"every": component, "latest": component, "newest": component, "logged": {"sink": {"type": "log"}}},
            "routes": [
                {"name": "every", "match": {"artifacts": ["*"]}, "to": ["every"], "mode": "every"},
                {"name": "latest", "match": {"artifacts": ["*"]}, "to": ["latest", "logged"]},
                {"name": "newest", "match": {"artifacts": ["chart/*"]}, "to": ["newest"], "newest": "semver"},
            ],
        }
    )


@lru_cache
def rules_for(partitions: int, parks: bool = False) -> Rules:
    return Rules(settings_for(partitions, parks))


class BridgeProcess:
    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.process = Process(name, world.loop)
        self._world = world
        topic = world.topics.events
        self.links = SimulatedLinks(world.jetstream, world.nats, world.log, world.kafka, topic)
        self._ends = LogEnds(world.settings.kafka, topic, lambda: SimulatedReader(world.log, world.kafka))  # type: ignore[arg-type, return-value]
        control = SimulatedClient(world.jetstream, world.nats)
        for principal in PRINCIPALS:
            stream = StreamBridge(world.settings, principal, control, self._ends, self.links)  # type: ignore[arg-type]
            self.process.spawn(keep_serving(stream, principal))
        self.process.spawn(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._ends.look()
            except LogAway:
                continue


class HeldSpan:
    """A hold, and between which times it was surely in effect: from when it could be read to when its release was asked for."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.from_s = self.until_s = float("inf")
        self.is_made = asyncio.Event()


class World:
    def __init__(self, loop: SimulatedLoop, schedule: Schedule) -> None:
        partitions, has_holds = schedule.partitions, schedule.has_holds
        self.loop = loop
        self.settings = settings_for(partitions, schedule.parks)
        self.topics = Topics(self.settings.kafka.topic_prefix)
        self.rules = rules_for(partitions, schedule.parks)
        self.kafka = Wire(loop, timeout_s=self.settings.kafka.request_timeout_s)
        # To the components. One that took an attempt after it was given up would have to compare generations itself: the key tells them.
        self.orbit = Wire(loop, latency_s_max=0.2, timeout_s=1.0, is_patient=True)
        self.nats = Wire(loop, timeout_s=1.0)
        self.log = SimulatedLog(
            loop,
            transaction_timeout_s=self.settings.kafka.transaction_timeout_s,
            version=1 + schedule.seed % 2,  # clusters of both kinds
        )
        self.jetstream = SimulatedJetStream(loop)
        self.group = Group(loop, partitions, self.settings.kafka.session_timeout_s)
        self.components = {name: Component(name) for name in self.settings.components}
        self.disks: dict[int, dict[int, MemoryDatabase]] = {number: {} for number in range(schedule.workers)}
        self.has_lost = False  # a stream or the log has lost what it had acknowledged: what is sent again is told again
        self.log_has_lost = False
        self.commanded: list[tuple[str, str]] = []
        self.has_holds = has_holds
        self.held: list[HeldSpan] = []
        self._decided: set[tuple[str, bytes | None]] = set()
        self._starts = 0
        self._make_streams()
        self.workers: dict[int, Worker] = {number: self.make_worker(number) for number in range(schedule.workers)}
        self.bridges: dict[int, BridgeProcess] = {number: self.make_bridge(number) for number in range(schedule.bridges)}

    def _make_streams(self) -> None:
        configs = [bucket_config(CHECKPOINTS, 1), bucket_config(LEASES, 1, self.settings.bridge.lease_ttl_s)]
        for config in configs + [stream_config(self.settings, principal) for principal in PRINCIPALS]:
            self.jetstream.request(f"$JS.API.STREAM.CREATE.{config['name']}", msgspec.json.encode(config), {}, None)

    def make_worker(self, number: int) -> Worker:
        self._starts += 1
        return Worker(
            f"worker-{number}.{self._starts}",
            loop=self.loop,
            settings=self.settings,
            rules=self.rules,
            log=self.log,
            kafka=self.kafka,
            group=self.group,
            components=self.components,
            wire=self.orbit,
            disk=self.disks[number],
            follows_control=self.has_holds,
        )

    def make_bridge(self, number: int) -> BridgeProcess:
        self._starts += 1
        return BridgeProcess(f"bridge-{number}.{self._starts}", self)

    # -- producers and operators: they repeat until they have an answer --------------------------------------------------------------

    async def publish(self, principal: str, body: bytes) -> None:
        while True:
            try:
                await self.nats.ask(self.jetstream.publish, f"sm.in.{principal}.events", body, {})
            except Lost:
                continue
            return

    async def command(self, artifact: str, component: str = "", *, verb: CommandVerb = "sync", subject: str = "") -> None:
        tp = TP(self.topics.commands, partition_of(artifact.encode(), self.settings.kafka.partitions))
        ident = f"command-{len(self.commanded)}"
        self.commanded.append((artifact, component))
        command = Command(ident, verb, "operator", EPOCH_S * 1000, component, subject=subject)
        value = msgspec.json.encode(command)
        while True:
            try:
                await self.kafka.ask(
                    self.log.append, tp, [(artifact.encode(), value, [])], int((EPOCH_S + self.loop.time()) * 1000)
                )
                return
            except Lost:
                continue

    def new_hold(self, artifacts: tuple[str, ...], component: str) -> HeldSpan:
        span = HeldSpan(Hold(f"hold-{len(self.held)}", "halt", artifacts, component, "operator", "test"))
        self.held.append(span)
        return span

    async def hold(self, span: HeldSpan) -> None:
        await self._control(span.hold.id, msgspec.json.encode(span.hold))
        span.from_s = self.loop.time()
        span.is_made.set()

    async def release(self, span: HeldSpan) -> None:
        await span.is_made.wait()
        span.until_s = min(span.until_s, self.loop.time())
        await self._control(span.hold.id, None)

    async def _control(self, ident: str, value: bytes | None) -> None:
        while True:
            try:
                return await self.kafka.ask(self._decide, ident, value)
            except Lost:
                continue

    def _decide(self, ident: str, value: bytes | None) -> None:
        """Once, however often it is asked, as the gateway's transactions are."""
        if (ident, value) not in self._decided:
            self._decided.add((ident, value))
            self.log.append(TP(self.topics.control, 0), [(control_key(Hold, ident), value, [])])

    def lots(self, partition: int) -> dict[str, Lot]:
        """Artifacts that are parked, or were, by what is committed."""
        found: dict[str, Lot] = {}
        for record in self.committed(self.topics.changelog("quarantine"), partition):
            if record.key.startswith(LOT_PREFIX):
                lot = Lot() if record.value is None else msgspec.json.decode(record.value, type=Lot)
                found[record.key[len(LOT_PREFIX) :].decode()] = lot
        return found

    def queued(self, partition: int, artifact: str) -> list[str]:
        """Ids of what waits behind the front of the artifact, by what is committed."""
        found: dict[str, Quarantined | None] = {}
        for record in self.committed(self.topics.changelog("quarantine"), partition):
            if record.key.startswith(quarantine_key(artifact, PARKED_PREFIX)):
                ident = split_key(record.key)[1]
                found[ident] = None if record.value is None else msgspec.json.decode(record.value, type=Quarantined)
        return [ident for ident, entry in found.items() if entry is not None and entry.kept is Kept.QUEUED]

    # -- what is there --------------------------------------------------------------------------------------------------------------

    @property
    def partitions(self) -> range:
        return range(self.settings.kafka.partitions)

    def committed(self, topic: str, partition: int) -> list[Any]:
        return self.log.partition(TP(topic, partition)).committed()

    def owner(self, partition: int) -> Worker | None:
        """The worker that serves the partition, and that the group says should."""
        for worker in self.workers.values():
            if partition in self.group.assignment.get(worker.name, ((), ()))[0] and partition in worker.partitions.served:
                return worker
        return None

    def uncarried(self) -> str | None:
        """A stream whose checkpoint does not say that the log has all of it."""
        for name in map(stream_name, PRINCIPALS):
            stream = self.jetstream.streams[name]
            entry = self.jetstream.streams[f"KV_{CHECKPOINTS}"].last_of(f"$KV.{CHECKPOINTS}.{name}")
            checkpoint = msgspec.json.decode(entry[1].body, type=Checkpoint) if entry else None
            if checkpoint is None or (checkpoint.created, checkpoint.sequence) != (stream.created, stream.last):
                return f"{name} has {stream.last}, its checkpoint is {checkpoint}"
            at = stream.messages.get(checkpoint.sequence)
            if at is not None and checkpoint.ingress_ns not in {0, at.ns}:
                return f"{name} has another message at {checkpoint.sequence}"
        return None
