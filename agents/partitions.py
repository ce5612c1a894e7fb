"""The partitions of this worker: each assigned one is owned by a supervised task, standbys are followed. Faust decides which; see `worker.py`.

Owning a partition is always the same five steps, whether it was just assigned, or its actor failed:

    fence (init the transactional id) -> restore the stores to the changelogs' ends -> read the marker -> seek -> run the actor

Fencing comes before the changelogs' ends are read: behind those ends nobody else can append. After `Fenced` the task asks the group before
it takes the partition back. Of two workers that both believe they own it, the one whose generation is over is told so, and waits to
lose the partition; the other starts again from the marker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from agents.artifact import ArtifactActor, Flow
from agents.clock import Clock, wall_ms
from agents.hold_watch import HoldWatch
from agents.lost_tail import Seen, applied_by, go_on, missing, seen_by
from agents.rules import Rules
from agents.sinks.actor import SinkActor
from streams import metrics
from streams.chunks import Chunk
from streams.errors import Fenced, SyncMasterError
from streams.log_reader import TP, LogReader
from streams.log_tail import FETCH_BYTES_LITTLE
from streams.log_transaction import TransactionalWriter
from streams.logs import AWAY
from streams.settings import Settings
from streams.topics import Topics
from tables.model import Marker
from tables.replica import Follower, Progress, restore
from tables.store import Stores

log = structlog.get_logger(__name__)

_RESTORES_AT_ONCE_MAX = 4
_PAUSE_S_MAX = 10.0
#: How often the log is asked whether it still has what the partitions were made from.
_LOOK_S = 10.0


class Positions(Flow, Protocol):
    """The shared consumer, as far as partitions are concerned."""

    async def seek(self, positions: Mapping[TP, int]) -> None:
        """Fetch these from there, and start fetching."""

    async def connections(self, tps: Iterable[TP]) -> dict[TP, int]:
        """The number of the connection over which each is fetched from now on, as in `Chunk.connection`. Raises Away."""

    async def is_member(self) -> bool:
        """Whether the group says that this worker's assignment is in force; False when it does not say."""


class Partitions:
    def __init__(
        self,
        settings: Settings,
        *,
        rules: Rules,
        stores: Stores,
        positions: Positions,
        sinks: Mapping[str, SinkActor],
        watch: HoldWatch,
        make_writer: Callable[[str], TransactionalWriter],
        make_reader: Callable[..., LogReader],
        clock: Clock = wall_ms,
    ) -> None:
        self._settings = settings
        self._topics = Topics(settings.kafka.topic_prefix)
        self._rules = rules
        self._stores = stores
        self._positions = positions
        self._sinks = sinks
        self._holds = watch
        watch.on_change.append(self._holds_changed)
        self._make_writer = make_writer
        self._make_reader = make_reader
        self._clock = clock
        self._actors: dict[int, ArtifactActor] = {}
        self._owners: dict[int, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._standby: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._standbys: frozenset[int] = frozenset()
        self._restores = asyncio.Semaphore(_RESTORES_AT_ONCE_MAX)
        self.restoring: dict[int, Progress] = {}

    # -- what the group assigns --------------------------------------------------------------------------------------------------

    async def assign(self, actives: Iterable[int], standbys: Iterable[int]) -> None:
        """Own `actives`, follow `standbys`, let go of everything else. Returns at once; each partition is served when it is restored."""
        actives = set(actives)
        self._standbys = frozenset(standbys) - actives
        await self._stop_standby()
        for partition in self._stores.partitions():
            if partition not in actives | self._standbys:
                self._stores.close(partition)
        for sink in self._sinks.values():
            sink.set_share(len(actives), self._settings.kafka.partitions)
        for partition in sorted(actives - self._owners.keys()):
            self._owners[partition] = asyncio.create_task(self._own(partition), name=f"partition-{partition}")
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="changelog ends")
        if self._standbys:
            self._standby = asyncio.create_task(self._follow(self._standbys), name="standbys")
        metrics.PARTITIONS.labels("active").set(len(actives))
        metrics.PARTITIONS.labels("standby").set(len(self._standbys))

    async def revoke(self, grace_s: float) -> None:
        """Let go of every owned partition within `grace_s`: attempts under way end, then turns do; what does not is given up. Stores stay open.

        An attempt that is given up may reach its component after the next owner's newer one; so half of the grace is theirs.
        """
        until_s = asyncio.get_running_loop().time() + grace_s
        owners, self._owners = self._owners, {}
        self._leaving |= set(owners.values())
        leaving = set(self._leaving)  # also those of a revocation that is under way: the caller may close the stores next
        for partition, owner in owners.items():
            if partition not in self._actors:
                owner.cancel()  # still recovering, or waiting to begin again: there is nothing to finish
        await self._end_attempts(owners, grace_s / 2)
        for partition in owners.keys() & self._actors.keys():
            self._actors[partition].stop()
        if leaving:
            _, late = await asyncio.wait(leaving, timeout=max(0.0, until_s - asyncio.get_running_loop().time()))
            for task in late:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
            self._leaving -= leaving

    async def _end_attempts(self, partitions: Iterable[int], timeout_s: float) -> None:
        attempts = {attempt for partition in partitions for sink in self._sinks.values() for attempt in sink.leave(partition)}
        if attempts:
            await asyncio.wait(attempts, timeout=timeout_s)

    async def aclose(self, grace_s: float) -> None:
        await self.revoke(grace_s)
        await self._stop_standby()
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        self._stores.close_all()

    def offer(self, chunk: Chunk) -> None:
        """A chunk from the shared consumer; dropped if its partition is not served: it is fetched again from the marker."""
        actor = self._actors.get(chunk.partition)
        if actor is not None:
            actor.offer(chunk)

    @property
    def served(self) -> dict[int, ArtifactActor]:
        return dict(self._actors)

    @property
    def owned(self) -> set[int]:
        return set(self._owners)

    # -- one partition -----------------------------------------------------------------------------------------------------------

    async def _own(self, partition: int) -> None:
        me, clock_s = asyncio.current_task(), asyncio.get_running_loop().time
        pause_s, was_fenced = 0.1, False
        while self._owners.get(partition) is me:
            started_s = clock_s()
            try:
                if not was_fenced or await self._positions.is_member():
                    was_fenced = False
                    await self._serve(partition)
            except Fenced as exc:
                was_fenced = True
                log.warning("partition was taken over by another worker; asking the group whose it is", partition=partition)
                metrics.UNIT_ABORTS.labels("fenced").inc()
                log.debug("fenced", error=str(exc))
            except SyncMasterError as exc:
                metrics.UNIT_ABORTS.labels("log").inc()
                AWAY.warning(log, "kafka", "partition starts again from its marker", partition=partition, error=str(exc))
            except Exception:
                metrics.UNIT_ABORTS.labels("bug").inc()
                log.exception("partition failed; it starts again from its marker. Please report this", partition=partition)
            if clock_s() - started_s > _PAUSE_S_MAX:
                pause_s = 0.1
            if self._owners.get(partition) is me:
                await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    async def _serve(self, partition: int) -> None:
        writer = self._make_writer(f"{self._settings.kafka.topic_prefix}.{partition}")
        await writer.init()
        # Before the log is compared with the marker: what is compared must be what is read.
        inputs = [TP(topic, partition) for topic in (self._topics.events, self._topics.commands)]
        connections = await self._positions.connections(inputs)
        async with self._restores:
            marker = await self._restore(partition)
        actor = ArtifactActor(
            partition,
            marker=marker,
            topics=self._topics,
            rules=self._rules,
            store=self._stores[partition],
            writer=writer,
            flow=self._positions,
            watch=self._holds,
            clock=self._clock,
            on_commit=self._committed,
            worker=self._settings.worker,
            connections={tp.topic: number for tp, number in connections.items()},
        )
        self._actors[partition] = actor
        try:
            await self._positions.seek(
                {TP(self._topics.events, partition): marker.events, TP(self._topics.commands, partition): marker.commands}
            )
            for sink in self._sinks.values():
                sink.assign(actor)
            log.info("partition is served", partition=partition, turn=marker.turn, events=marker.events)
            await actor.run()
        finally:
            actor.stop()
            del self._actors[partition]
            for sink in self._sinks.values():
                sink.revoke(partition)

    async def _restore(self, partition: int) -> Marker:
        """Bring the store to the ends and make sure that the marker's positions exist. Returns the marker to go on from."""
        reader = self._make_reader()
        try:
            await reader.start()
            await restore(
                reader,
                self._topics,
                self._stores,
                {partition},
                on_ready=lambda ready: None,
                on_progress=self._tell_restore,
            )
            store = self._stores[partition]
            if not store.is_consistent():
                log.error(
                    "the changelogs of this partition do not belong together; one of them has lost its tail. "
                    "What can be known is served; compare with the components and sync by hand",
                    partition=partition,
                )
            return await go_on(reader, self._topics, partition, store.marker())
        finally:
            self.restoring.pop(partition, None)
            metrics.RESTORE_REMAINING.labels(str(partition)).set(0)
            await reader.aclose()

    def _tell_restore(self, progress: dict[int, Progress]) -> None:
        for partition, state in progress.items():
            self.restoring[partition] = state
            metrics.RESTORE_REMAINING.labels(str(partition)).set(state.remaining)
            log.info("restoring", partition=partition, applied=state.applied, end=state.end)

    def _holds_changed(self) -> None:
        for actor in self._actors.values():
            actor.holds_changed()
        for sink in self._sinks.values():
            sink.holds_changed()

    def _committed(self, partition: int, changed: list[str]) -> None:
        for sink in self._sinks.values():
            sink.changed(partition, changed)

    # -- a log that lost its tail ------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """What is compared was seen some time ago: the end that is told stands still until the marker of a transaction is written."""
        seen: dict[ArtifactActor, dict[TP, Seen]] = {}
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._look(seen)
                seen = {actor: self._seen_by(actor) for actor in self._actors.values()}
            except SyncMasterError as exc:
                AWAY.warning(log, "kafka", "the log cannot be looked at; trying again", error=str(exc))

    def _seen_by(self, actor: ArtifactActor) -> dict[TP, Seen]:
        return seen_by(actor.marker, self._topics, actor.partition) | applied_by(actor.store, self._topics, actor.partition)

    async def _look(self, seen: Mapping[ArtifactActor, Mapping[TP, Seen]]) -> None:
        """Start those partitions again whose records are not there any more."""
        still = {actor: self._still(actor, known) for actor, known in seen.items() if self._actors.get(actor.partition) is actor}
        reader = self._make_reader(fetch_bytes_max=FETCH_BYTES_LITTLE)
        try:
            await reader.start()
            lost = await missing(reader, {tp: record for known in still.values() for tp, record in known.items()})
        finally:
            await reader.aclose()
        for actor in {actor for actor, known in still.items() if lost & known.keys()}:
            log.error("the log lost its tail; the partition starts again from what is left", partition=actor.partition)
            actor.stop()

    def _still(self, actor: ArtifactActor, known: Mapping[TP, Seen]) -> dict[TP, Seen]:
        """What it counts on now as then. Only the owner appends to its changelogs: when it has, the log itself would have told it."""
        now, changelogs = self._seen_by(actor), {TP(topic, actor.partition) for topic in self._topics.changelogs}
        return {
            tp: record
            for tp, record in known.items()
            if now.get(tp) == record or (tp in now and tp not in changelogs and now[tp].offset > record.offset)
        }

    # -- standbys ----------------------------------------------------------------------------------------------------------------

    async def _follow(self, partitions: frozenset[int]) -> None:
        pause_s = 0.5
        while True:
            reader = self._make_reader()
            try:
                await reader.start()
                follower = Follower(reader, self._topics, self._stores)
                await follower.assign(partitions)
                while True:
                    await follower.poll(0.5)
                    pause_s = 0.5
            except SyncMasterError as exc:
                AWAY.warning(log, "kafka", "standbys cannot be followed; trying again", error=str(exc))
            finally:
                await reader.aclose()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    async def _stop_standby(self) -> None:
        if self._standby is not None:
            self._standby.cancel()
            await asyncio.gather(self._standby, return_exceptions=True)
            self._standby = None
