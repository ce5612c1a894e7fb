"""What the log has, looked at from behind: the newest record of one stream in [events], or the records at certain offsets.

The newest of a stream is what the log knows of a stream that JetStream may have forgotten.
A power cut, or a disk set back, can take the tail of a stream *and* of the bucket with its checkpoint; both then agree, and sequences that
the log has already are given to other messages. Only the log can tell. It is asked when the nats-server is not the one that it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from streams.errors import Retriable
from streams.ingress import HEADER, Ingress
from streams.log_reader import TP, LogReader

#: Per partition; what a stream has behind its checkpoint is little, but other streams' records lie between.
_RECORDS_MAX = 50_000
_TIMEOUT_S = 20.0
#: For a reader of little from many partitions at once.
FETCH_BYTES_LITTLE = 256 << 10


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


async def records_at(reader: LogReader, offsets: Mapping[TP, int]) -> dict[TP, Any]:
    """The record at each of the offsets, which must be below the log's ends; None where none is visible. Raises Retriable."""
    waiting, found = dict(offsets), dict[TP, Any]()
    if waiting:
        reader.assign(offsets)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            while waiting:
                fetched = await reader.poll(0.5, waiting, records_max=1)
                for tp, offset in list(waiting.items()):
                    record = fetched[tp].records[0] if tp in fetched else None
                    if record is not None or await reader.position(tp) > offset:
                        found[tp] = record if record is not None and record.offset == offset else None
                        del waiting[tp]
    except TimeoutError as exc:
        raise Retriable(f"the log does not give what is at {waiting}") from exc
    return found


def origin_of(record: Any) -> str:
    """Its `sm-ingress` header; "" where there is no such record."""
    return "" if record is None else dict(record.headers).get(HEADER, b"").decode()


def _later(one: Ingress | None, other: Ingress) -> Ingress:
    return other if one is None or other.mark > one.mark else one
