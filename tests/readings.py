"""What a cluster has done, read from the outside: the log's topics, what components keep, the workers' stores. Judging it: `tests/checkers.py`.

Committed records only. The changelogs are kept whole here, in order: compaction would take away the markers of earlier turns, so
tests that need those use topics that are younger than one segment, or a broker that compacts late.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.ingress import HEADER, Ingress
from streams.settings import LogSink, Settings
from streams.topics import TABLES, Topics
from tables.audit_record import CHAIN_HEADER, AuditRecord, Outcome
from tables.model import MARKER_KEY, SEP, Head, Marker
from tables.store import Stores

JUDGED = frozenset({Outcome.ACCEPTED, Outcome.REFUSED, Outcome.QUARANTINED, Outcome.DUPLICATE})
_audit = msgspec.json.Decoder(AuditRecord)
_head = msgspec.json.Decoder(Head)
_marker = msgspec.json.Decoder(Marker)

Table = dict[bytes, bytes]


class Audited(NamedTuple):
    """One record of [audit]: its bytes as stored, the link beside it, and what it says."""

    value: bytes
    link: str
    record: AuditRecord


class Arrived(NamedTuple):
    """One update as a component keeps it, in the order in which it came first."""

    artifact: str
    generation: int
    version: str
    digest: str | None
    repeats: int


class Readings:
    """`update` reads what is new; everything else is what has been read so far."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.topics = Topics(settings.kafka.topic_prefix)
        self.partitions = range(settings.kafka.partitions)
        self.events: dict[int, list[Any]] = {p: [] for p in self.partitions}
        self.commands: dict[int, list[Any]] = {p: [] for p in self.partitions}
        self.audit: dict[int, list[Audited]] = {p: [] for p in self.partitions}
        self.sync: defaultdict[str, dict[int, list[Any]]] = defaultdict(lambda: {p: [] for p in self.partitions})
        self.tables: dict[str, dict[int, Table]] = {table: {p: {} for p in self.partitions} for table in TABLES}
        self.markers: dict[int, list[Marker]] = {p: [] for p in self.partitions}
        self.behind: set[bytes] = set()
        self._judged: set[tuple[str, int]] = set()
        self._consumer: AIOKafkaConsumer | None = None
        logs = {self.topics.sync(name): name for name, c in settings.components.items() if isinstance(c.sink, LogSink)}
        self._take: dict[str, Any] = {
            self.topics.events: lambda record: self.events[record.partition].append(record),
            self.topics.commands: lambda record: self.commands[record.partition].append(record),
            self.topics.audit: self._take_audit,
            **{self.topics.changelog(table): self._taker(table) for table in TABLES},
            **{topic: lambda record, name=name: self.sync[name][record.partition].append(record) for topic, name in logs.items()},
        }

    async def start(self) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka.bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 << 20,
            request_timeout_ms=15_000,
        )
        await self._consumer.start()
        self._consumer.assign([TopicPartition(topic, p) for topic in self._take for p in self.partitions])

    async def aclose(self) -> None:
        if self._consumer is not None:
            with contextlib.suppress(
                asyncio.CancelledError
            ):  # aiokafka's own, of a fetch that it cancels while it waits to repeat it
                await self._consumer.stop()
            await self._consumer._client.close()

    async def update(self) -> None:
        """Read up to the ends as they are now."""
        assert self._consumer is not None, "not started"
        tps = self._consumer.assignment()
        ends = await self._consumer.end_offsets(tps)
        while any([await self._consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, records in (await self._consumer.getmany(timeout_ms=500)).items():
                take = self._take[tp.topic]
                for record in records:
                    take(record)

    def waiting(self, sent: set[tuple[str, int]]) -> str:
        """What is still to be done before everything is settled, in words; empty when nothing is."""
        found = {
            "messages without an outcome": len(sent - self._judged),
            "events not in the state": self._lag("events", self.events),
            "commands not in the state": self._lag("commands", self.commands),
            "artifacts out of step": len(self.behind),
            "queues being drained": sum(self.marker(p).parked.draining for p in self.partitions),
        }
        return ", ".join(f"{count} {what}" for what, count in found.items() if count)

    def marker(self, partition: int) -> Marker:
        return self.markers[partition][-1] if self.markers[partition] else Marker()

    def heads(self) -> dict[str, Head]:
        tables = self.tables["artifacts"].values()
        return {key.decode(): _head.decode(raw) for table in tables for key, raw in table.items() if key != MARKER_KEY}

    def audited(self) -> Iterable[Audited]:
        return (entry for entries in self.audit.values() for entry in entries)

    def _lag(self, name: str, topic: dict[int, list[Any]]) -> int:
        ends = {p: records[-1].offset + 1 for p, records in topic.items() if records}
        return sum(end - getattr(self.marker(p), name) for p, end in ends.items())

    def _take_audit(self, record: Any) -> None:
        entry = Audited(record.value, dict(record.headers)[CHAIN_HEADER].decode(), _audit.decode(record.value))
        self.audit[record.partition].append(entry)
        if entry.record.outcome in JUDGED:
            ingress = Ingress.decode(entry.record.ingress.encode())
            self._judged.add((ingress.stream, ingress.sequence))

    def _taker(self, name: str) -> Any:
        table = self.tables[name]

        def take(record: Any) -> None:
            if record.value is None:
                table[record.partition].pop(record.key, None)
            else:
                table[record.partition][record.key] = record.value
            if name == "artifacts":
                self._take_head(record)

        return take

    def _take_head(self, record: Any) -> None:
        if record.key == MARKER_KEY:
            self.markers[record.partition].append(_marker.decode(record.value))
            return
        in_step = record.value is None or all(s.delivered >= s.desired for s in _head.decode(record.value).sync.values())
        (self.behind.discard if in_step else self.behind.add)(record.key)


def ingress_of(record: Any) -> Ingress:
    """Where a record of [events] came from."""
    return Ingress.decode(dict(record.headers)[HEADER])


def came_from(record: Any) -> str:
    """The same, as audit and quarantine tell it."""
    return dict(record.headers)[HEADER].decode()  # type: ignore[no-any-return]


def arrivals(directory: Path) -> list[Arrived]:
    """What an example component keeps in that directory."""
    with sqlite3.connect(f"file:{directory / 'held.sqlite'}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT artifact, generation, version, digest, repeats FROM updates ORDER BY number").fetchall()
    return [Arrived(*row) for row in rows]


def stored(directory: Path, partitions: Iterable[int]) -> dict[int, dict[str, Table]]:
    """A stopped worker's stores, markers and stamps included: partition -> table -> records. Partitions it never had are left out."""
    stores = Stores(directory)
    found: dict[int, dict[str, Table]] = {}
    try:
        for partition in partitions:
            if (directory / f"partition-{partition:05d}").exists():
                store = stores.open(partition)
                found[partition] = {t: dict(store.scan(t, prefix=SEP)) | dict(store.scan(t)) for t in TABLES}  # reserved keys too
    finally:
        stores.close_all()
    return found
