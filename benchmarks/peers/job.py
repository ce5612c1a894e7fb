"""The work, for the peers that are written in Python: decode and validate, fold into the artifact's state, say what came of it. No I/O.

msgspec decodes and validates, as in SyncMaster: the quickest that Python has, so no peer loses by its decoder. Less is asked of a peer
than SyncMaster does: no deduplication, no policy, no versions, no audit chain, and a state of a third of the size.

The Java peer has the same work in `kafka_streams/src/main/java/syncmaster/bench/Job.java`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec


class Context(msgspec.Struct):
    version: str
    id: str
    source: str
    type: str


class Subject(msgspec.Struct):
    id: str
    type: str


class Custom(msgspec.Struct):
    kind: str
    version: str


class Data(msgspec.Struct):
    context: Context
    subject: Subject
    customData: Custom  # noqa: N815 - CDEvents' own name


class CloudEvent(msgspec.Struct):
    """The fields that are used; each must be there and of its type."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: Literal["application/json"]
    data: Data


class Change(NamedTuple):
    artifact: str
    state: dict[str, Any]
    portal: bytes
    store: bytes
    audit: bytes


_decode = msgspec.json.Decoder(CloudEvent).decode
_encode = msgspec.json.Encoder().encode
_purl = re.compile(r"pkg:[a-z]+/(?P<name>[^@]+)@(?P<version>[^?]+)\?checksum=(?P<digest>sha256:[0-9a-f]{64})").fullmatch
_type = re.compile(r"dev\.cdevents\.artifact\.(?P<action>packaged|published|signed|deleted)\.\d+\.\d+\.\d+").fullmatch
Parsed = tuple[CloudEvent, str, str, str, str]


def parse(value: bytes) -> Parsed:
    """(event, artifact, version, digest, action). Raises ValueError for what is not valid."""
    event = _decode(value)
    purl, kind = _purl(event.data.subject.id), _type(event.type)
    if purl is None or kind is None:
        raise ValueError(f"not an artifact event: {event.type} {event.data.subject.id}")
    name, version, digest = purl.groups()
    return event, f"{event.data.customData.kind}/{name}", version, digest, kind["action"]


def apply(value: bytes, get: Callable[[str], dict[str, Any] | None]) -> Change:
    """One event, folded into the state that `get` returns for its artifact."""
    event, artifact, version, digest, action = parse(value)
    before = get(artifact)
    generation = 1 if before is None else before["generation"] + 1
    state = {
        "version": version,
        "digest": digest,
        "generation": generation,
        "action": action,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": event.time,
        "portal": generation,
        "store": generation,
    }
    return Change(
        artifact,
        state,
        _update("portal", artifact, generation, version, digest),
        _update("store", artifact, generation, version, digest),
        _encode(
            {
                "outcome": "accepted",
                "artifact": artifact,
                "generation": generation,
                "version": version,
                "id": event.id,
                "type": event.type,
            }
        ),
    )


def _update(component: str, artifact: str, generation: int, version: str, digest: str) -> bytes:
    key = f"{artifact}@{generation}/{component}"
    return _encode({"key": key, "artifact": artifact, "generation": generation, "version": version, "digest": digest})
