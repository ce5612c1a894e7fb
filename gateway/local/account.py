"""What became of this run's events: from the producers' reports and the audit topic since the run began. Pure, but for `AuditTail`.

An event is known by its identity (stream, sequence, index). Each has exactly one outcome; a message that JetStream knew already is a
duplicate, unless the audit of this run tells what became of its first copy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from gateway.local.feed import Line
from streams.ingress import Ingress
from streams.log_reader import TP, LogReader
from streams.settings import Settings
from streams.topics import Topics
from tables.audit_record import AuditRecord, Outcome

_JUDGED = frozenset({Outcome.ACCEPTED, Outcome.REFUSED, Outcome.QUARANTINED, Outcome.DUPLICATE})
_decoder = msgspec.json.Decoder(AuditRecord)

Identity = tuple[str, int, int]  # stream, sequence, index


class Account:
    """Feed it audit records; ask it how far this run's events are."""

    def __init__(self) -> None:
        self._outcomes: dict[Identity, AuditRecord] = {}
        self._delivered: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
        self._superseded: Counter[str] = Counter()

    def add(self, records: Iterable[AuditRecord]) -> None:
        for record in records:
            if record.outcome in _JUDGED:
                ingress = Ingress.decode(record.ingress.encode())
                self._outcomes[ingress.stream, ingress.sequence, ingress.index] = record
            elif record.outcome is Outcome.DELIVERED:
                self._delivered[record.component].add((record.artifact, record.generation))
                self._superseded[record.component] += record.superseded

    def missing(self, lines: Iterable[Line]) -> int:
        """How many published events have no outcome yet."""
        return sum(identity not in self._outcomes for line in lines if not line.duplicate for identity in identities(line))

    def counts(self, lines: Iterable[Line]) -> Counter[str]:
        """Outcome -> events; their sum is what was published."""
        counts: Counter[str] = Counter()
        seen: set[Identity] = set()
        for line in lines:
            for identity in identities(line):
                record = self._outcomes.get(identity)
                first = identity not in seen
                seen.add(identity)
                counts[record.outcome if record is not None and first else Outcome.DUPLICATE] += 1
        return counts

    def delivered(self, component: str) -> int:
        """Distinct (artifact, generation)."""
        return len(self._delivered[component])

    def superseded(self, component: str) -> int:
        return self._superseded[component]

    def tokens(self) -> list[str]:
        """What a read has to wait for to know all of this: per stream and partition the last identity."""
        last: dict[tuple[str, str], tuple[int, int, int]] = {}
        for record in self._outcomes.values():
            ingress = Ingress.decode(record.ingress.encode())
            partition = record.id.split("-")[1]
            last[ingress.stream, partition] = max(last.get((ingress.stream, partition), (0, 0, 0)), ingress.mark)
        return [f"{stream}:{partition}:{'.'.join(map(str, mark))}" for (stream, partition), mark in last.items()]


def identities(line: Line) -> list[Identity]:
    return [(line.stream, line.sequence, index) for index in range(len(line.keys))]


class AuditTail:
    """The audit records that are written from now on."""

    def __init__(self, settings: Settings) -> None:
        topic = Topics(settings.kafka.topic_prefix).audit
        self._tps = [TP(topic, partition) for partition in range(settings.kafka.partitions)]
        self._reader = LogReader(settings.kafka.bootstrap, request_timeout_s=settings.kafka.request_timeout_s)

    async def start(self) -> None:
        await self._reader.start()
        self._reader.assign(await self._reader.ends(self._tps))

    async def poll(self, timeout_s: float) -> list[AuditRecord]:
        fetched = await self._reader.poll(timeout_s)
        return [_decoder.decode(record.value) for batch in fetched.values() for record in batch.records]

    async def aclose(self) -> None:
        await self._reader.aclose()
