"""Serves one principal's stream: from its checkpoint to [events], until something ends it. Who starts it again: `bridge.py`.

    puller --messages--> encoder --(a round that grows)--> appender --acknowledged--> checkpoint --later--> purge
                                                                  |                          by compare-and-set
                                                                  +--> puller: its pulls may be asked for again

The invariant, and why it holds: *in each partition the first occurrences of the stream's sequences are in stream order and without holes.*
A serving (`bridge_begin.py`) begins at most one behind the checkpoint; the checkpoint never passes what the log acknowledged; from there
the serving sends every sequence in order (the encoder refuses a hole), one batch of a partition after the other (the appender), and nothing
after a failure. So each serving adds to each partition a run that begins inside what is there already: two bridges, or a crash, only add
repetitions.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import structlog
from nats.aio.client import Client

from streams import metrics
from streams.alerts import STREAM_LOST, stream_alert
from streams.bridge_begin import begin
from streams.bridge_checkpoint import CheckpointKeeper
from streams.bridge_encode import Encoder, Round
from streams.bridge_grace import GraceWindow
from streams.bridge_lease import Lease
from streams.bridge_links import Links
from streams.bridge_plan import Checkpoint, Start
from streams.bridge_pull import Puller
from streams.bridge_rounds import Rounds
from streams.errors import Retriable, SyncMasterError
from streams.ingress import Ingress
from streams.log_append import LogAppender
from streams.log_ends import LogEnds, Shrunk
from streams.nats_cell import Cell
from streams.nats_streams import (
    CHECKPOINTS,
    LEASES,
    ensure,
    purge_below,
    stream_config,
    stream_name,
    stream_state,
)
from streams.rate_limits import RateLimits, limits_of
from streams.settings import Settings
from streams.together import run_together

log = structlog.get_logger(__name__)

_HOUSEKEEPING_S = 2.0
#: Housekeeping comes early when this part of the stream's bound has passed through.
_EARLY_PART = 0.1
#: How often the log is asked for the records that the checkpoint counts on; at least four times within the grace window.
_CONFIRM_S = 60.0
_GOODBYE_S = 1.0
#: Messages, some three milliseconds of work.
_ENCODED_AT_ONCE = 500


class StreamStatistics(msgspec.Struct, frozen=True):
    principal: str
    serving: bool
    incarnation: int
    sequence: int
    messages: int
    records: int
    restarts: int


class StreamBridge:
    """One `serve` after the other; what outlives a serving is only counters, the grace window's samples and answered shrinkages."""

    def __init__(self, settings: Settings, principal: str, control: Client, ends: LogEnds, links: Links | None = None) -> None:
        self._settings = settings
        self._links = links or Links(settings)
        self._principal = principal
        self._stream = stream_name(principal)
        self._control = control
        self._ends = ends
        self._grace = GraceWindow(settings.nats.grace_window_s)
        self._answered = len(ends.shrinkages)
        self._checkpoint: Checkpoint | None = None
        self._bytes_since = 0
        self._untidy = asyncio.Event()
        self._serving = False
        self.messages = 0
        self.records = 0
        self.restarts = 0

    def statistics(self) -> StreamStatistics:
        at = self._checkpoint
        return StreamStatistics(
            principal=self._principal,
            serving=self._serving,
            incarnation=at.incarnation if at else 0,
            sequence=at.sequence if at else 0,
            messages=self.messages,
            records=self.records,
            restarts=self.restarts,
        )

    async def serve(self) -> None:
        """Wait for the lease, then carry messages until an error ends it: Gap, Fenced, Shrunk, Retriable. Never returns otherwise."""
        instance = f"bridge-{uuid.uuid4().hex[:12]}"
        await ensure(self._control, stream_config(self._settings, self._principal))
        cell, ttl_s = Cell(self._control, LEASES, self._stream), self._settings.bridge.lease_ttl_s
        lease = Lease(cell, instance, ttl_s, self._links.monotonic_s)
        await lease.acquire()
        keeper = CheckpointKeeper(Cell(self._control, CHECKPOINTS, self._stream), instance)
        self._serving = True
        metrics.BRIDGE_STATE.labels(self._principal).set(1)
        try:
            await run_together(lease.hold(), self._carry(lease, keeper))
        finally:
            self._serving = False
            metrics.BRIDGE_STATE.labels(self._principal).set(0)
            await _goodbye(keeper.flush(), lease.release())

    async def _carry(self, lease: Lease, keeper: CheckpointKeeper) -> None:
        """Connects before it looks: a nats-server that restarts after the look, and may have lost a tail, breaks the connection of the pulls."""
        async with AsyncExitStack() as stack:
            client = self._links.make_pull_client()
            stack.push_async_callback(client.close)
            await self._links.connect(client, self._stream)
            start = await self._begin(keeper)
            appender = self._links.make_appender()
            stack.push_async_callback(appender.abort)
            await appender.start()
            puller = Puller(client, self._stream, self._settings.bridge, self._settings.limits, self._links.monotonic_s)
            await puller.start(start.first)
            rounds = Rounds()
            await run_together(
                self._read(puller, self._encoder(start, keeper), appender, rounds),
                self._append(puller, appender, rounds, lease, keeper),
                keeper.keep(),
                self._keep_house(keeper),
                self._confirm(keeper),
            )

    async def _begin(self, keeper: CheckpointKeeper) -> Start:
        now_s = int(self._links.wall_s())
        begun = await begin(self._control, self._ends, keeper, self._stream, answered=self._answered, now_s=now_s)
        self._answered = begun.answered
        if begun.start.alert:
            self._links.alert(stream_alert(STREAM_LOST, self._principal, begun.start.alert))
        self._checkpoint = keeper.latest
        return begun.start

    def _encoder(self, start: Start, keeper: CheckpointKeeper) -> Encoder:
        return Encoder(
            stream=self._stream,
            incarnation=start.incarnation,
            principal=self._principal,
            cluster=self._settings.cluster,
            first=start.first,
            partitions=self._settings.kafka.partitions,
            limits=self._settings.limits,
            rate_limits=RateLimits(limits_of(self._settings, self._principal), keeper.latest.buckets),
        )

    async def _read(self, puller: Puller, encoder: Encoder, appender: LogAppender, rounds: Rounds) -> None:
        """Encodes beside the append that is under way, a little at a time: its acknowledgement must not wait."""
        while True:
            taken = await puller.take()
            for at in range(0, len(taken.messages), _ENCODED_AT_ONCE):
                some = taken.messages[at : at + _ENCODED_AT_ONCE]
                is_all = at + len(some) == len(taken.messages)
                rounds.grown(encoder.encode(some, appender.new_batch, rounds.open), taken.arrived if is_all else None)
                await asyncio.sleep(0)

    async def _append(
        self,
        puller: Puller,
        appender: LogAppender,
        rounds: Rounds,
        lease: Lease,
        keeper: CheckpointKeeper,
    ) -> None:
        while True:
            round_, arrived = await rounds.take()
            lease.check()
            before = self._ends.highest()
            with metrics.BRIDGE_APPEND_SECONDS.time():
                spans = await appender.append(round_.batches)
            self._ends.appended(before, spans)
            self._heed_shrinkages()
            ends = {partition: span.end for partition, span in spans.items()}
            marks = {partition: Ingress.decode(round_.last[partition]).mark for partition in spans}
            known = keeper.latest
            keeper.advance(
                sequence=round_.sequence,
                ingress_ns=round_.ingress_ns,
                buckets=round_.buckets,
                offsets=known.offsets | ends,
                marks=known.marks | marks,
            )
            self._count(keeper.latest, round_)
            if arrived is not None:
                await puller.release(arrived)

    def _count(self, checkpoint: Checkpoint, round_: Round) -> None:
        self._checkpoint = checkpoint
        self.messages += round_.messages
        self.records += round_.records
        metrics.BRIDGE_MESSAGES.labels(self._principal).inc(round_.messages)
        metrics.BRIDGE_RECORDS.labels(self._principal).inc(round_.records)
        metrics.BRIDGE_LAG.labels(self._principal).set(round_.pending)
        if round_.limited:
            metrics.RATE_LIMITED.labels(self._principal, "bridge").inc(round_.limited)
        self._bytes_since += round_.payload_bytes
        if self._bytes_since > _EARLY_PART * self._settings.nats.stream_bytes_max:
            self._untidy.set()

    async def _keep_house(self, keeper: CheckpointKeeper) -> None:
        """Purges what the grace window lets go, as far as the *stored* checkpoint: an old one must find what it counts on."""
        while True:
            self._heed_shrinkages()
            self._bytes_since = 0
            self._untidy.clear()
            state = await stream_state(self._control, self._stream)
            if state.created != keeper.latest.created:
                raise Retriable(f"the stream {self._stream} was made anew while it was served")
            stored = keeper.stored.sequence if keeper.stored else 0
            now_s = self._links.monotonic_s()
            self._grace.note(now_s, stored)
            target = self._grace.purge_below(now_s, stored, state.fill)
            if target > max(state.first, 1):
                await purge_below(self._control, self._stream, target)
            metrics.BRIDGE_LAG.labels(self._principal).set(max(state.last - keeper.latest.sequence, 0))
            await _wait(self._untidy, _HOUSEKEEPING_S)

    async def _confirm(self, keeper: CheckpointKeeper) -> None:
        """Another bridge's streams may have filled a log that lost its tail, before anybody here saw how short it was."""
        while True:
            await asyncio.sleep(min(_CONFIRM_S, self._settings.nats.grace_window_s / 4))
            known = keeper.latest
            if await self._ends.replaced(self._stream, known.offsets, known.marks):
                raise Shrunk("[events] has other records where it had acknowledged ours")

    def _heed_shrinkages(self) -> None:
        if len(self._ends.shrinkages) > self._answered:
            raise Shrunk("[events] ends before what it had acknowledged")


async def _goodbye(*last_words: Coroutine[Any, Any, None]) -> None:
    """What is nice to have done at the end, as far as it goes: the next serving manages without."""
    for last_word in last_words:
        try:
            await asyncio.wait_for(last_word, _GOODBYE_S)
        except (SyncMasterError, TimeoutError) as exc:
            log.debug("not done at the end of a serving", error=str(exc))


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return
