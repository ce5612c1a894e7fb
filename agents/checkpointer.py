"""Signs, now and then, how far the audit chains of this worker's partitions are: into the log, then to NATS. Outside the hot path.

A checkpoint is made of a marker that is committed, so it is true whatever happens next. Each partition's are written under a
transactional id of their own, which fences a worker that had the partition before: they stand in the order of the chain. One that lost
that right tries again only once its chain has moved, which proves that it owns the partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
import structlog
from nacl.signing import SigningKey

from agents.clock import Clock, wall_ms
from streams import metrics
from streams.errors import Fenced, SyncMasterError
from streams.log_transaction import Append, TransactionalWriter
from streams.logs import AWAY
from streams.record_batch import Record
from streams.settings import Settings
from streams.topics import Topics
from tables.audit_checkpoint import Checkpoint, signed
from tables.model import Marker

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode


class Owner(Protocol):
    """The actor of a partition, as far as it matters here."""

    marker: Marker


class Publisher(Protocol):
    async def publish(self, partition: int, ident: str, payload: bytes) -> None: ...

    async def aclose(self) -> None: ...


class _Kept(msgspec.Struct):
    """What is known of one partition while one actor owns it."""

    owner: Owner
    tried: int = 0  # the chain's length at the last attempt
    writer: TransactionalWriter | None = None


class Checkpointer:
    def __init__(
        self,
        settings: Settings,
        key: SigningKey,
        *,
        served: Callable[[], Mapping[int, Owner]],
        make_writer: Callable[[str], TransactionalWriter],
        publisher: Publisher,
        clock: Clock = wall_ms,
    ) -> None:
        self._key = key
        self._settings = settings
        self._topics = Topics(settings.kafka.topic_prefix)
        self._config = settings.config_hash
        self._served = served
        self._make_writer = make_writer
        self._publisher = publisher
        self._clock = clock
        self._kept: dict[int, _Kept] = {}
        self._unpublished: dict[int, Checkpoint] = {}  # the newest of each partition
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="checkpointer")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._publisher.aclose()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._settings.audit.checkpoint_interval_s)
            try:
                await self.round()
            except Exception:
                log.exception("audit checkpoints could not be made; trying again. Please report this")

    async def round(self) -> None:
        """One checkpoint for each partition whose chain has moved since its last."""
        served = dict(self._served())
        self._kept = {p: kept for p, kept in self._kept.items() if served.get(p) is kept.owner}
        for partition, owner in served.items():
            kept = self._kept.setdefault(partition, _Kept(owner))
            marker = owner.marker
            if marker.audit_seq > kept.tried:
                kept.tried = marker.audit_seq
                await self._write(partition, kept, self._made(partition, marker))
        await self._publish()

    def _made(self, partition: int, marker: Marker) -> Checkpoint:
        unsigned = Checkpoint(
            cluster=self._settings.cluster,
            topic=self._topics.audit,
            partition=partition,
            seq=marker.audit_seq,
            head=marker.audit_head,
            at_ms=self._clock(),
            config=self._config,
            key="",
        )
        return signed(unsigned, self._key)

    async def _write(self, partition: int, kept: _Kept, checkpoint: Checkpoint) -> None:
        records: list[Record] = [(str(partition).encode(), _encode(checkpoint), [])]
        try:
            if kept.writer is None:
                kept.writer = self._make_writer(f"{self._topics.audit_checkpoints}.{partition}")
                await kept.writer.init()
            await kept.writer.commit([Append(self._topics.audit_checkpoints, partition, records)], checkpoint.at_ms)
            self._unpublished[partition] = checkpoint
            metrics.AUDIT_CHECKPOINTS.labels("log", "taken").inc()
        except SyncMasterError as exc:
            kept.writer = None
            metrics.AUDIT_CHECKPOINTS.labels("log", "failed").inc()
            if not isinstance(exc, Fenced):
                kept.tried = 0
            AWAY.warning(log, "kafka", "an audit checkpoint could not be written; the next one is tried", error=str(exc))

    async def _publish(self) -> None:
        for partition, checkpoint in list(self._unpublished.items()):
            try:
                ident = f"{checkpoint.topic}-{partition}-{checkpoint.seq}-{checkpoint.head[:16]}"
                await self._publisher.publish(partition, ident, _encode(checkpoint))
            except SyncMasterError as exc:
                metrics.AUDIT_CHECKPOINTS.labels("nats", "failed").inc()
                AWAY.warning(log, "nats", "audit checkpoints are in the log and not yet in NATS; trying again", error=str(exc))
                return
            metrics.AUDIT_CHECKPOINTS.labels("nats", "taken").inc()
            self._unpublished.pop(partition, None)
