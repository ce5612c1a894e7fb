"""Reads the audit as the log has it, partition by partition, committed records only, in bounded memory. What it proves: `audit_report.py`.

The order of the questions is what keeps a running system from looking wrong: first the markers, then the checkpoints' ends, then the
audit's. So all that the first two speak of is within the third, but for the moment that a commit takes to show in every topic.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from heapq import heappop, heappush
from typing import Any

import msgspec

from streams.errors import Malformed, Retriable
from streams.log_reader import TP, LogReader
from streams.settings import Settings
from streams.topics import Topics
from tables.audit_checkpoint import Checkpoint
from tables.audit_export import Begin
from tables.audit_record import CHAIN_HEADER, CHAIN_START
from tables.audit_report import Item
from tables.audit_verify import Anchor, Stored, seq_of
from tables.model import MARKER_KEY, Marker

_STALLED_S = 30.0
_COMMIT_SHOWS_S = 5.0
_LOOK_AGAIN_S = 0.1
_MARKER_WINDOW_RECORDS = 4096
#: Checkpoints are handed out so many ahead: a worker that lost its partition may have written one late.
_AHEAD_MAX = 1000
_decode_marker = msgspec.json.Decoder(Marker).decode
_decode_checkpoint = msgspec.json.Decoder(Checkpoint).decode
Progress = Callable[[int, int], None]


class AuditScan:
    """`async with AuditScan(settings) as scan`: `scan.begin`, then `scan.items()` once. Raises Retriable while the log is away."""

    begin: Begin

    def __init__(self, settings: Settings) -> None:
        kafka = settings.kafka
        self._cluster = settings.cluster
        self._topics = Topics(kafka.topic_prefix)
        self._partitions = range(kafka.partitions)
        self._records = LogReader(kafka.bootstrap, request_timeout_s=kafka.request_timeout_s)
        self._others = LogReader(kafka.bootstrap, request_timeout_s=kafka.request_timeout_s)
        self._markers: dict[int, Anchor] = {}
        self._promised: dict[int, int] = {}  # partition -> how many records somebody says there are
        self._checkpoints: dict[TP, tuple[int, int]] = {}

    async def __aenter__(self) -> AuditScan:
        try:
            await self._records.start()
            await self._others.start()
            await self._begin()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._records.aclose()
        await self._others.aclose()

    async def items(self, on_progress: Progress = lambda records, left: None) -> AsyncIterator[Item]:
        """Markers and checkpoints before the records that they are about. `on_progress` gets offsets read, and left to read."""
        total = sum(end - self.begin.begins[p] for p, end in self.begin.ends.items())
        done = 0
        for partition in self._partitions:
            yield self._markers[partition]
            checkpoints = _Ahead(self._read_checkpoints(partition))
            async for records in self._read_audit(partition):
                for stored in records:
                    for checkpoint in await checkpoints.before(seq_of(stored.value)):
                        yield checkpoint
                    yield stored
                done += records[-1].offset - records[0].offset + 1
                on_progress(done, max(total - done, 0))
            async for checkpoint in checkpoints.rest():
                yield checkpoint

    async def _begin(self) -> None:
        changelogs = await self._spans(self._topics.changelog("artifacts"))
        for tp, span in changelogs.items():
            self._markers[tp.partition] = marker = await _marker(self._others, tp, *span)
            self._promised[tp.partition] = marker.seq
        self._checkpoints = await self._spans(self._topics.audit_checkpoints)
        audit = await self._spans(self._topics.audit)
        self.begin = Begin(
            cluster=self._cluster,
            topic=self._topics.audit,
            at_ms=time.time_ns() // 10**6,
            begins={tp.partition: begin for tp, (begin, _) in audit.items()},
            ends={tp.partition: end for tp, (_, end) in audit.items()},
        )

    async def _spans(self, topic: str) -> dict[TP, tuple[int, int]]:
        tps = [TP(topic, partition) for partition in self._partitions]
        begins, ends = await self._others.beginnings(tps), await self._others.ends(tps)
        return {tp: (begins[tp], ends[tp]) for tp in tps}

    async def _read_audit(self, partition: int) -> AsyncIterator[list[Stored]]:
        """Up to the end there was, and a moment longer if marker or checkpoints speak of records that do not show yet."""
        tp, next_seq, waited_s = TP(self._topics.audit, partition), 0, 0.0
        position, end = self.begin.begins[partition], self.begin.ends[partition]
        while True:
            async for records in _read(self._records, tp, position, end):
                stored = [Stored(partition, r.offset, _chain_header(r), r.value or b"") for r in records]
                next_seq = (seq_of(stored[-1].value) or 0) + 1
                yield stored
            if next_seq >= self._promised[partition] or waited_s > _COMMIT_SHOWS_S:
                return
            await asyncio.sleep(_LOOK_AGAIN_S)
            waited_s += _LOOK_AGAIN_S
            position, end = end, (await self._records.ends([tp]))[tp]

    async def _read_checkpoints(self, partition: int) -> AsyncIterator[Checkpoint]:
        tp = TP(self._topics.audit_checkpoints, partition)
        async for records in _read(self._others, tp, *self._checkpoints[tp]):
            for record in records:
                checkpoint = _checkpoint(tp, record)
                self._promised[partition] = max(self._promised[partition], checkpoint.seq)
                yield checkpoint


class _Ahead:
    """Checkpoints of one partition, handed out before the records that they are about."""

    def __init__(self, source: AsyncIterator[Checkpoint]) -> None:
        self._source = source
        self._beyond: list[int] = []  # a heap: seqs handed out that are beyond the record asked about
        self._ended = False

    async def before(self, seq: int | None) -> Sequence[Checkpoint]:
        """Those to hand out before the record with this seq; none that is about it is left behind."""
        found: list[Checkpoint] = []
        if seq is None:
            return found
        while self._beyond and self._beyond[0] <= seq + 1:
            heappop(self._beyond)
        while not self._ended and len(self._beyond) < _AHEAD_MAX:
            checkpoint = await anext(self._source, None)
            if checkpoint is None:
                self._ended = True
                break
            found.append(checkpoint)
            if checkpoint.seq > seq + 1:
                heappush(self._beyond, checkpoint.seq)
        return found

    async def rest(self) -> AsyncIterator[Checkpoint]:
        async for checkpoint in self._source:
            yield checkpoint


async def _read(reader: LogReader, tp: TP, position: int, end: int) -> AsyncIterator[list[Any]]:
    """Committed records from `position` to before `end`, as they are fetched. Raises Retriable when nothing comes any more."""
    if position >= end:
        return
    reader.assign({tp: position})
    moved_at_s = time.monotonic()
    while position < end:
        for fetched in (await reader.poll(0.5)).values():
            records = [record for record in fetched.records if record.offset < end]
            if records:
                yield records
        now, moved = time.monotonic(), await reader.position(tp)
        if moved > position:
            position, moved_at_s = moved, now
        elif now - moved_at_s > _STALLED_S:
            raise Retriable(f"the log gives nothing of {tp.topic}-{tp.partition} behind offset {position}; is it healthy?")


async def _marker(reader: LogReader, tp: TP, begin: int, end: int) -> Anchor:
    """What the state says about the end of the partition's chain. Markers are many: the last one is near the end."""
    window, found = _MARKER_WINDOW_RECORDS, None
    while found is None:
        start = max(begin, end - window)
        async for records in _read(reader, tp, start, end):
            found = next((r.value for r in reversed(records) if r.key == MARKER_KEY), found)
        if start == begin:
            break
        window *= 8
    marker = Marker() if found is None else _decode_marker(found)
    return Anchor(tp.partition, marker.audit_seq, marker.audit_head or CHAIN_START)


def _chain_header(record: Any) -> str:
    return dict(record.headers).get(CHAIN_HEADER, b"").decode("ascii", "replace")


def _checkpoint(tp: TP, record: Any) -> Checkpoint:
    try:
        return _decode_checkpoint(record.value or b"")
    except msgspec.MsgspecError as exc:
        place = f"{tp.topic}-{tp.partition} at offset {record.offset}"
        raise Malformed(
            "checkpoint.malformed", f"what stands in {place} is no checkpoint ({exc}); somebody else wrote there"
        ) from None
