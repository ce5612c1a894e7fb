"""The beginning of a serving: gathers what is durable, asks `bridge_plan.py` what follows, and writes it down before anything is sent."""

from __future__ import annotations

from typing import NamedTuple

import structlog
from nats.aio.client import Client

from streams.bridge_checkpoint import CheckpointKeeper
from streams.bridge_plan import Checkpoint, Start, plan_start
from streams.ingress import Ingress
from streams.log_ends import LogEnds
from streams.nats_door import server_id
from streams.nats_streams import StreamState, message_ns, stream_state

log = structlog.get_logger(__name__)


class Begun(NamedTuple):
    """Where to begin, and how many of the log's shrinkages that takes into account."""

    start: Start
    answered: int


async def begin(control: Client, ends: LogEnds, keeper: CheckpointKeeper, stream: str, *, answered: int, now_s: int) -> Begun:
    """Raises Gap, Fenced when another bridge adopted something else meanwhile, Retriable when JetStream or the log is away."""
    before = await keeper.load()
    state = await stream_state(control, stream)
    found = await ends.look()
    lost = await _lost(ends, stream, before, found, answered) if before else {}
    answered = len(ends.shrinkages)
    in_log = await _newest_in_log(control, ends, stream, before, found)
    start = plan_start(
        before,
        state,
        stream_name=stream,
        message_ns=await _time_of(control, stream, before.sequence if before else 0),
        lost=lost,
        now_s=now_s,
        in_log=in_log,
        in_log_ns=await _time_of(control, stream, in_log.sequence if in_log else 0),
    )
    if start.alert:
        log.error(start.alert, stream=stream, incarnation=start.incarnation, first=start.first)
    await keeper.adopt(_checkpoint(stream, state, before, start, ends=found, lost=lost, server=server_id(control)))
    log.info("serving", stream=stream, incarnation=start.incarnation, first=start.first)
    return Begun(start, answered)


async def _lost(ends: LogEnds, stream: str, before: Checkpoint, found: dict[int, int], answered: int) -> dict[int, int]:
    """Partitions that ended, at some time, before what the stream had there; and those that have something else there."""
    lost = ends.lost(before.offsets, found, answered)
    marks = {partition: mark for partition, mark in before.marks.items() if partition not in lost}
    return lost | await ends.replaced(stream, before.offsets, marks)


async def _newest_in_log(
    control: Client, ends: LogEnds, stream: str, before: Checkpoint | None, found: dict[int, int]
) -> Ingress | None:
    """Asked only when the nats-server was started anew: otherwise its streams cannot have lost anything."""
    if before is None or before.server == server_id(control):
        return None
    return await ends.newest_of(stream, before.offsets, found)


async def _time_of(control: Client, stream: str, sequence: int) -> int | None:
    return await message_ns(control, stream, sequence) if sequence else None


def _checkpoint(
    stream: str,
    state: StreamState,
    before: Checkpoint | None,
    start: Start,
    *,
    ends: dict[int, int],
    lost: dict[int, int],
    server: str,
) -> Checkpoint:
    """Going on keeps what is known; going back forgets offsets that the log does not have."""
    goes_on = before is not None and (start.incarnation, start.first) == (before.incarnation, before.sequence + 1)
    return Checkpoint(
        stream=stream,
        created=state.created,
        incarnation=start.incarnation,
        sequence=start.first - 1,
        ingress_ns=before.ingress_ns if before and goes_on else 0,
        offsets={p: min(offset, ends.get(p, 0)) for p, offset in before.offsets.items()} if before else {},
        instance="",
        at_ms=0,
        server=server,
        buckets=before.buckets if before and goes_on else {},
        marks={p: mark for p, mark in before.marks.items() if p not in lost} if before else {},
    )
