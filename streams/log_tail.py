"""The newest record of one stream in [events]: what the log knows of a stream that JetStream may have forgotten.

A power cut, or a disk set back, can take the tail of a stream *and* of the bucket with its checkpoint; both then agree, and sequences that
the log has already are given to other messages. Only the log can tell. It is asked when the nats-server is not the one that it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from streams.errors import Retriable
from streams.ingress import HEADER, Ingress
from streams.log_reader import TP, LogReader

#: Per partition; what a stream has behind its checkpoint is little, but other streams' records lie between.
_RECORDS_MAX = 50_000
_TIMEOUT_S = 20.0


async def newest_of(reader: LogReader, stream: str, since: Mapping[TP, int], ends: Mapping[TP, int]) -> Ingress | None:
    """The highest identity of `stream` from `since` to `ends`, None where there is none. Raises Retriable."""
    beginnings = await reader.beginnings(ends)
    positions = {tp: max(since.get(tp, 0), beginnings[tp], end - _RECORDS_MAX) for tp, end in ends.items()}
    positions = {tp: position for tp, position in positions.items() if position < ends[tp]}
    prefix, newest = f"{stream} ".encode(), None
    reader.assign(positions)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            while any(position < ends[tp] for tp, position in positions.items()):
                for tp, fetched in (await reader.poll(0.5)).items():
                    positions[tp] = fetched.position
                    for record in fetched.records:
                        raw = dict(record.headers).get(HEADER, b"")
                        if raw.startswith(prefix):
                            newest = _later(newest, Ingress.decode(raw))
    except TimeoutError as exc:
        raise Retriable("the log is too slow to be asked for its tail") from exc
    return newest


async def origin_before(reader: LogReader, tp: TP, position: int) -> str:
    """The `sm-ingress` header of the record before `position`, which the log must have. Raises Retriable.

    A log that lost its tail and has grown again has another record there.
    """
    reader.assign({tp: position - 1})
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            while not (fetched := await reader.poll(0.5)):
                pass
    except TimeoutError as exc:
        raise Retriable(f"the log does not give what is before {position} of {tp.topic}-{tp.partition}") from exc
    return dict(fetched[tp].records[0].headers).get(HEADER, b"").decode()


def _later(one: Ingress | None, other: Ingress) -> Ingress:
    return other if one is None or other.mark > one.mark else one
