"""Follows the audit topic of all partitions into the index. What the index is: `index.py`."""

from __future__ import annotations

import asyncio

import structlog

from streams.errors import Retriable
from streams.log_reader import TP, Fetched, LogReader, OutOfRange
from streams.logs import AWAY
from streams.settings import Kafka
from streams.topics import Topics
from tables.index import AuditIndex

_log = structlog.get_logger(__name__)
_BATCH_RECORDS = 500  # of one SQLite transaction: short enough that a reader hardly waits


class AuditFollower:
    """`ready` once every partition has reached the end that the topic had when following began."""

    def __init__(self, settings: Kafka, index: AuditIndex) -> None:
        self._settings = settings
        self._index = index
        topic = Topics(settings.topic_prefix).audit
        self._tps = [TP(topic, partition) for partition in range(settings.partitions)]
        self._task: asyncio.Task[None] | None = None
        self._wants_again = False
        self.ready = False

    def reindex(self) -> None:
        """Forget the index and fill it again from the topic."""
        self._wants_again = True
        self.ready = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="audit-follower")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause_s = 0.1
        while True:
            reader = LogReader(self._settings.bootstrap, request_timeout_s=self._settings.request_timeout_s)
            try:
                await reader.start()
                pause_s = 0.1
                while True:
                    await self._follow(reader)
            except OutOfRange as exc:
                _log.warning("the audit topic does not have what the index stopped at; starting again", positions=str(exc))
            except Retriable as exc:
                AWAY.warning(_log, "kafka", "the audit topic cannot be read; trying again", error=str(exc))
            finally:
                await reader.aclose()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 10.0)

    async def _follow(self, reader: LogReader) -> None:
        ends = await reader.ends(self._tps)
        positions = await self._start_positions(reader, ends)
        reader.assign(positions)
        behind = {tp for tp in self._tps if positions[tp] < ends[tp]}
        while True:
            for tp, fetched in (await reader.poll(1.0 if self.ready else 0.1)).items():
                await self._apply(tp, fetched)
            behind = {tp for tp in behind if await reader.position(tp) < ends[tp]}
            if self._wants_again or await asyncio.to_thread(self._index.reopen_if_deleted):
                _log.warning("the audit index is built anew")
                self._wants_again, self.ready = False, False
                await asyncio.to_thread(self._index.reset)
                return
            self.ready = self.ready or not behind

    async def _start_positions(self, reader: LogReader, ends: dict[TP, int]) -> dict[TP, int]:
        """Where the index stands; from the beginning for all where the topic contradicts it."""
        beginnings = await reader.beginnings(self._tps)
        if any(self._index.next_offset(tp.partition) > ends[tp] for tp in self._tps):
            _log.warning("the audit topic ends before the index does: it was made anew or lost its tail; indexing again")
            self._index.reset()
        return {tp: max(self._index.next_offset(tp.partition), beginnings[tp]) for tp in self._tps}

    async def _apply(self, tp: TP, fetched: Fetched) -> None:
        """In a thread: SQLite blocks, for about thirty microseconds a record."""
        records = fetched.records
        for start in range(0, len(records), _BATCH_RECORDS):
            batch = records[start : start + _BATCH_RECORDS]
            values = [record.value for record in batch if record.value is not None]
            await asyncio.to_thread(self._index.apply_audit, tp.partition, batch[-1].offset + 1, values)
        await asyncio.to_thread(self._index.apply_audit, tp.partition, fetched.position, [])
