"""The Faust application: one App, two agents, three tables, and what is ours in place of Faust's data path. No module-level App.

Faust's and used as it is: App and configuration, topics, agents and streams (a topic's chunks are a message), consumer thread, group membership and
partition assignor, tables for assignment and changelog names, standby assignment, sensors, CLI. Ours: the transport that carries
chunks (`streams/chunk_transport.py`), and what happens once the assignor has spoken (`Handover` below, `agents/partitions.py`): stores,
recovery, positions and transactions. Faust's `exactly_once`, its stores and its recovery are not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import faust
import structlog
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP as FaustTP  # noqa: N811 - as Faust spells it
from mode import Service

from agents.checkpointer import Checkpointer
from agents.hold_watch import HoldWatch
from agents.partitions import Partitions
from agents.rules import Rules
from agents.sinks.actor import SinkActor
from agents.sinks.factory import make_sink
from streams import log_transaction
from streams.audit_stream import CheckpointPublisher
from streams.chunk_transport import ChunkSchema, ChunkTransport
from streams.control_reader import ControlReader
from streams.control_thread import ControlThread
from streams.ed25519 import signing_key
from streams.log_reader import TP, LogReader
from streams.log_transaction import TransactionalWriter
from streams.settings import Settings
from streams.topics import TABLES, Topics
from tables.store import Stores

log = structlog.get_logger(__name__)

_STOP_GRACE_S = 5.0
_HELP = {
    "artifacts": "Heads: the state of each artifact and how far each component is; and the partition's marker.",
    "versions": "Every accepted version of each artifact, with its event.",
    "quarantine": "Messages that are no events, with their original bytes.",
}


class Handover(Recovery):
    """Takes Faust's assignment and gives it to `Partitions`, in place of Faust's recovery."""

    app: SyncApp

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):
                return
            self.signal_recovery_start.clear()
            await self._hand_over(self._generation_id)

    async def _hand_over(self, generation_id: int) -> None:
        app, consumer = self.app, self.app.consumer
        await consumer.pause_fetching(self.active_tps | self.standby_tps)
        await app.on_rebalance_complete.send()
        if app.consumer_generation_id != generation_id:
            return  # another rebalance is under way and will come here too
        await app.partitions.assign({tp.partition for tp in self.active_tps}, {tp.partition for tp in self.standby_tps})
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()
        log.info("assignment taken", generation=generation_id, active=len(app.partitions.owned))

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Changelogs are read by `tables/replica.py`."""

    @Service.task
    async def _publish_stats(self) -> None:
        """`/readyz` and metrics tell the progress."""


class StateTables(TableManager):
    _recovery: Handover | None

    @property
    def recovery(self) -> Handover:
        if self._recovery is None:
            self._recovery = Handover(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class SharedConsumer:
    """Faust's consumer as the partitions see it (`agents.partitions.Positions`)."""

    def __init__(self, app: SyncApp) -> None:
        self._app = app
        self._rewinds: set[asyncio.Task[None]] = set()

    async def seek(self, positions: Mapping[TP, int]) -> None:
        consumer = self._app.consumer
        tps = {FaustTP(*tp): offset for tp, offset in positions.items()}
        consumer.pause_partitions(tps)
        await consumer.seek_wait(tps)
        consumer.resume_partitions(set(tps))

    async def connections(self, tps: Iterable[TP]) -> dict[TP, int]:
        numbers = await self._app.consumer.connections([FaustTP(*tp) for tp in tps])
        return {TP(*tp): number for tp, number in numbers.items()}

    async def is_member(self) -> bool:
        return await self._app.consumer.is_member()

    def rewind(self, topic: str, partition: int, offset: int) -> None:
        task = asyncio.ensure_future(self.seek({TP(topic, partition): offset}))
        self._rewinds.add(task)
        task.add_done_callback(self._rewinds.discard)

    def full(self, topic: str, partition: int) -> None:
        self._app.consumer.mailbox_full(FaustTP(topic, partition))

    def drained(self, topic: str, partition: int) -> None:
        self._app.consumer.mailbox_drained(FaustTP(topic, partition))

    def finished(self, topic: str, partition: int, next_offset: int) -> None:
        self._app.consumer.finished(FaustTP(topic, partition), next_offset)

    def lag(self, topic: str, partition: int, next_offset: int) -> int:
        """Records beyond `next_offset` that the log is known to have."""
        return max(0, (self._app.consumer.highwater(FaustTP(topic, partition)) or 0) - next_offset)


class SyncApp(faust.App):
    """The worker. Owns the log client, the stores and the sink actors beside what Faust owns."""

    settings: Settings
    partitions: Partitions
    sinks: dict[str, SinkActor]
    positions: SharedConsumer
    control: ControlThread
    watch: HoldWatch
    checkpointer: Checkpointer | None

    def _new_transport(self) -> Any:
        return ChunkTransport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        self.settings.worker.data_dir.mkdir(parents=True, exist_ok=True)
        await super().on_first_start()

    async def on_start(self) -> None:
        await super().on_start()
        kafka, worker = self.settings.kafka, self.settings.worker
        self._log_client = await log_transaction.connect(kafka.bootstrap, request_timeout_s=kafka.request_timeout_s)
        self.positions = SharedConsumer(self)
        control = ControlReader(kafka)
        self.watch = HoldWatch(control, tell=asyncio.get_running_loop().call_soon_threadsafe)
        self.control = ControlThread(control)
        self.control.start()
        rules = Rules(self.settings)
        self.sinks = self._make_sinks(rules)
        for sink in self.sinks.values():
            await sink.start()
        self.partitions = Partitions(
            self.settings,
            rules=rules,
            stores=Stores(worker.data_dir / "stores", block_cache_bytes=worker.block_cache_bytes),
            positions=self.positions,
            sinks=self.sinks,
            watch=self.watch,
            make_writer=self._make_writer,
            make_reader=lambda **options: LogReader(kafka.bootstrap, request_timeout_s=kafka.request_timeout_s, **options),
        )
        self.checkpointer = self._make_checkpointer()
        if self.checkpointer is not None:
            await self.checkpointer.start()

    async def on_stop(self) -> None:
        """Turns under way finish before the consumer leaves the group: the next owner has nothing to wait for."""
        if self.checkpointer is not None:
            await self.checkpointer.aclose()
        await self.partitions.aclose(_STOP_GRACE_S)
        for sink in self.sinks.values():
            await sink.aclose()
        await self.control.aclose()
        await super().on_stop()
        await self._log_client.close()

    async def _revoked(self, _: Any, revoked: Any, **__: Any) -> None:
        await self.partitions.revoke(self.settings.kafka.session_timeout_s / 2)

    def _make_sinks(self, rules: Rules) -> dict[str, SinkActor]:
        sinks = {}
        for name, component in self.settings.components.items():
            sink = make_sink(name, component, self.settings)
            if sink is not None:
                sinks[name] = SinkActor(name, component, sink, rules.routing, self.watch)
        return sinks

    def _make_checkpointer(self) -> Checkpointer | None:
        reference = self.settings.audit.signing_key
        if reference is None:
            log.warning("audit chains get no signed checkpoints; set audit.signing_key, see `syncmaster check`")
            return None
        return Checkpointer(
            self.settings,
            signing_key(reference.reveal()),
            served=lambda: self.partitions.served,
            make_writer=self._make_writer,
            publisher=CheckpointPublisher(self.settings),
        )

    def _make_writer(self, transactional_id: str) -> TransactionalWriter:
        kafka, limits = self.settings.kafka, self.settings.limits
        return TransactionalWriter(
            self._log_client,
            transactional_id,
            transaction_timeout_s=kafka.transaction_timeout_s,
            deadline_s=kafka.request_timeout_s,
            batch_bytes_max=min(900_000, limits.log_message_bytes_max // 2),
        )


def build_app(settings: Settings) -> SyncApp:
    """The worker of `settings`; nothing is connected before it starts."""
    kafka, topics = settings.kafka, Topics(settings.kafka.topic_prefix)
    app = SyncApp(
        kafka.topic_prefix,
        broker=";".join(f"kafka://{address.strip()}" for address in kafka.bootstrap.split(",")),
        store="memory://",
        datadir=settings.worker.data_dir / "faust",
        autodiscover=False,
        web_enabled=False,
        cython_optimizations=True,
        topic_partitions=kafka.partitions,
        topic_replication_factor=kafka.replication_factor,
        topic_disable_leader=True,
        table_standby_replicas=settings.worker.standby_replicas,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=min(1.0, kafka.session_timeout_s / 5),  # also how soon a rebalance is noticed
        broker_request_timeout=max(kafka.request_timeout_s, kafka.session_timeout_s * 2),
        broker_commit_interval=1.0,
        broker_check_crcs=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=settings.worker.chunk_bytes_max,
        TableManager=StateTables,
    )
    app.settings = settings
    app.on_partitions_revoked.connect(app._revoked)
    for table in TABLES:
        app.Table(table, partitions=kafka.partitions, help=_HELP[table])
    for topic in (topics.events, topics.commands):
        _add_agent(app, topic)
    return app


def _add_agent(app: SyncApp, topic_name: str) -> None:
    """An agent that hands chunks to the actors of their partitions. It never waits, so one partition cannot stop another."""
    topic = app.topic(topic_name, schema=ChunkSchema(), partitions=app.settings.kafka.partitions, acks=False)

    async def hand_to_actor(stream: Any) -> None:
        async for chunks in stream:
            for chunk in chunks.take():
                app.partitions.offer(chunk)

    app.agent(topic, name=topic_name.rpartition(".")[2])(hand_to_actor)


async def run_worker(settings: Settings, stop: asyncio.Event, *, on_ready: Callable[[SyncApp], None] | None = None) -> None:
    """Run until `stop`. Raises what the worker crashed with."""
    app = build_app(settings)
    app.finalize()
    await app.start()
    if on_ready is not None:
        on_ready(app)
    crashed = asyncio.ensure_future(app._crashed.wait())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({crashed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        crashed.cancel()
        stopped.cancel()
        await app.stop()
    if app.crash_reason is not None:
        raise app.crash_reason
