"""What is in quarantine at one glance: counts come from the markers, so nothing is looked through for them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from gateway.context import Context
from gateway.operations.quarantine import entry_view
from gateway.views import QuarantineSummary, rfc3339
from streams import metrics
from tables.model import Kept, Marker
from tables.queries import QuarantineFilter

_LOOKED_AT = 100
_SHOWN = 20


class Counts(NamedTuple):
    entries: Counter[tuple[str, str]]  # by (reason, rule)
    parked: int  # artifacts
    since_ms: int  # of the one that has been parked longest; 0 where none is


def counts(context: Context) -> Counts:
    markers = list(_markers(context))
    entries: Counter[tuple[str, str]] = Counter()
    for marker in markers:
        for name, count in marker.quarantined.items():
            reason, _, rule = name.partition(" ")
            entries[reason, rule] += count
    parked = [marker.parked for marker in markers if marker.parked.artifacts]
    return Counts(entries, sum(p.artifacts for p in parked), min((p.since_ms for p in parked), default=0))


def summary(context: Context) -> QuarantineSummary:
    found = counts(context)
    by_reason: Counter[str] = Counter()
    for (reason, _), count in found.entries.items():
        by_reason[reason] += count
    page = context.queries.quarantine(QuarantineFilter(), after=None, limit=_LOOKED_AT)
    shown = [entry_view(row) for row in page.rows if row.message.kept is not Kept.QUEUED]
    return QuarantineSummary(
        entries=by_reason.total(),
        by_reason=dict(sorted(by_reason.items())),
        parked_artifacts=found.parked,
        since=rfc3339(found.since_ms),
        shown=shown[:_SHOWN],
    )


def observe(context: Context) -> None:
    found = counts(context)
    metrics.QUARANTINED.clear()
    for (reason, rule), count in found.entries.items():
        metrics.QUARANTINED.labels(reason, rule).set(count)
    metrics.PARKED.set(found.parked)
    metrics.OLDEST_PARKED.set(max(0.0, time.time() - found.since_ms / 1000) if found.since_ms else 0.0)


def _markers(context: Context) -> Iterator[Marker]:
    return map(context.queries.marker, range(context.settings.kafka.partitions))
