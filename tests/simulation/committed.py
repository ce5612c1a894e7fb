"""What a world's log says: committed records, decoded."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.ingress import HEADER, Ingress
from tables.audit_record import AuditRecord
from tables.model import MARKER_KEY, Head, Marker
from tests.simulation.world import World


def audit_of(world: World, partition: int) -> list[AuditRecord]:
    return [msgspec.json.decode(r.value, type=AuditRecord) for r in world.committed(world.topics.audit, partition)]


def markers_of(world: World, partition: int) -> list[Marker]:
    records = world.committed(world.topics.changelog("artifacts"), partition)
    return [msgspec.json.decode(record.value, type=Marker) for record in records if record.key == MARKER_KEY]


def table_of(world: World, table: str, partition: int, before: int | None = None) -> dict[bytes, bytes]:
    """The changelog's records below `before`, the last of each key."""
    content: dict[bytes, bytes] = {}
    for record in world.committed(world.topics.changelog(table), partition):
        if before is not None and record.offset >= before:
            break
        if record.value is None:
            content.pop(record.key, None)
        else:
            content[record.key] = record.value
    return content


def heads_of(world: World, partition: int) -> dict[str, Head]:
    content = table_of(world, "artifacts", partition)
    return {k.decode(): msgspec.json.decode(v, type=Head) for k, v in content.items() if k != MARKER_KEY}


def ingress_of(record: Any) -> Ingress:
    return Ingress.decode(dict(record.headers)[HEADER])
