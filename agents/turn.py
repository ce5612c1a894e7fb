"""What one turn of an artifact actor takes in and puts out. How the one becomes the other: `pipeline.py`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from agents.sinks.base import Receipt
from streams.control import Hold, control_key
from streams.log_transaction import Append
from streams.record_batch import Record
from streams.topics import TABLES, Topics
from tables.model import MARKER_KEY, Marker, Stamp

_encode = msgspec.json.Encoder().encode


class Work(msgspec.Struct):
    """Emptied from the mailboxes, handled in this order. Records are aiokafka's."""

    commands: list[Any] = []
    receipts: list[Receipt] = []
    events: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self.commands or self.receipts or self.events)


class Outcome(msgspec.Struct):
    """Everything a turn wants to be true. It becomes true in one transaction, or not at all."""

    marker: Marker
    tables: dict[str, list[Record]]
    generations: dict[bytes, int]  # of the versions in `tables`, by their keys
    audit: list[Record]
    sync: dict[str, list[Record]]  # per component with a log sink
    changed: list[str]  # artifact keys whose head changed
    events: Counter[tuple[str, str, str]]  # (outcome, type, principal), for metrics
    repeated: int = 0
    commands: Counter[str] = Counter()  # by verb
    holds: list[Hold] = []  # made by policies; into [control]
    alerts: list[Record] = []

    @property
    def control(self) -> list[Record]:
        return [(control_key(Hold, hold.id), _encode(hold), []) for hold in self.holds]

    def appends(self, topics: Topics, partition: int) -> list[Append]:
        """The transaction. The marker stands last in its changelog, and is there even when nothing else changed."""
        stamp = _encode(Stamp(self.marker.turn))
        appends = []
        for table in TABLES:
            records = self.tables[table]
            if table == "artifacts":
                records.append((MARKER_KEY, _encode(self.marker), []))
            elif records:
                records.append((MARKER_KEY, stamp, []))
            appends.append(Append(topics.changelog(table), partition, records))
        appends.append(Append(topics.audit, partition, self.audit))
        appends.append(Append(topics.control, 0, self.control))
        appends.append(Append(topics.alerts, 0, self.alerts))
        appends += [Append(topics.sync(component), partition, records) for component, records in self.sync.items()]
        return appends
