"""Events and log records for tests, as small builders: what a producer sends, and how the bridge writes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from streams.ingress import HEADER, Ingress


class FakeRecord(NamedTuple):
    """The fields of a record that the engine reads."""

    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    serialized_value_size: int = 0
    timestamp: int = 0


def digest_of(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def chart_event(
    name: str, version: str, *, ident: str | None = None, source: str = "urn:test", action: str = "published"
) -> dict[str, Any]:
    """A CDEvents artifact event about `chart/<name>`."""
    ident = ident or f"{name}-{version}-{action}"
    purl = f"pkg:generic/{name}@{version}?checksum={digest_of(name + version)}"
    type_ = f"dev.cdevents.artifact.{action}.0.2.0"
    context = {"version": "0.4.1", "id": ident, "source": source, "type": type_, "timestamp": "2026-11-01T10:00:00Z"}
    return {
        "specversion": "1.0",
        "id": ident,
        "source": source,
        "type": type_,
        "subject": purl,
        "time": "2026-11-01T10:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "context": context,
            "subject": {"id": purl, "source": source, "type": "artifact", "content": {}},
            "customData": {"kind": "chart", "version": version},
        },
    }


def encode(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def ingress(sequence: int, *, principal: str = "c24", incarnation: int = 1, index: int = 0) -> Ingress:
    return Ingress(f"SM_IN_{principal}", incarnation, sequence, index, 1_795_000_000_000 + sequence, "nats", principal, "test")


def record(
    offset: int, event: Mapping[str, Any] | bytes, *, key: str | None = None, sequence: int | None = None, **origin: Any
) -> FakeRecord:
    """An [events] record as the bridge writes it; the sequence in the stream follows the offset unless it is given."""
    body = event if isinstance(event, bytes) else encode(event)
    if key is None:
        key = "chart/" + event["subject"].partition("/")[2].partition("@")[0] if not isinstance(event, bytes) else "unknown/c24"
    origin_of = ingress(offset + 1 if sequence is None else sequence, **origin)
    return FakeRecord(offset, key.encode(), body, ((HEADER, origin_of.encode()),))
