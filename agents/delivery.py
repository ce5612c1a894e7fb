"""What a component is sent, made from state alone, so that any delivery can be repeated: plan, CloudEvent, log record. Pure.

Sending it is the sinks' part, when to send it the sink actor's.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import msgspec

from agents.routing import Mode
from agents.sinks.base import Delivery, PartitionView
from streams.codec import accepted_attributes
from streams.errors import Retriable
from streams.events import Event, Incoming
from streams.ingress import Ingress
from tables.model import Sync, Version


class Plan(msgspec.Struct, frozen=True):
    """The next delivery of a pair. `covers` is how many desired generations it settles."""

    generation: int
    name: str
    version: Version
    covers: int


def plan(view: PartitionView, artifact: str, sync: Sync, mode: Mode, after: int) -> Plan:
    """What to deliver next to a pair that has generation `after` and desires a newer one.

    Mode `latest`: the newest version. Mode `every`: the version after `after`, always under its own generation, so that a repetition
    has the same key whatever was desired since; once none is left, the newest version again for a generation that no version
    has (a manual sync, a backfill). Raises Retriable if the state does not have the version.
    """
    newest = view.version(artifact, sync.version)
    if mode == "every":
        if (
            newest is not None and newest.generation == after + 1
        ):  # nothing is between; nearly always so, and a scan costs six look-ups
            return Plan(newest.generation, sync.version, newest, 1)
        following = next(_versions_between(view, artifact, after, sync.desired), None)
        if following is not None:
            generation, name, version = following
            return Plan(generation, name, version, 1)
    if newest is None:
        raise Retriable(f"version {sync.version!r} is not in the table `versions`; publish it again, or sync when it is there")
    return Plan(sync.desired, sync.version, newest, 1 if mode == "every" else sync.pending)


def render(component: str, artifact: str, generation: int, name: str, version: Version) -> Delivery:
    """The accepted event as it came, with what SyncMaster knows about it as extension attributes."""
    incoming = Incoming(_body(version), version.headers)
    attributes, data, content_type = accepted_attributes(incoming, Ingress.decode(version.ingress.encode()))
    delivery = Delivery(component, artifact, generation, name, version.digest, attributes, data, content_type)
    attributes |= {
        "smartifact": artifact,
        "smversion": name,
        "smgeneration": str(generation),
        "smkey": delivery.key,
    }
    if version.digest is not None:
        attributes["smdigest"] = version.digest
    return delivery


class LogRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """A record of [sync.<component>]: what changed and which event said so, not the event itself. Compact JSON, some 300 bytes.

    The record's key is the artifact's; (artifact, generation) is what makes a repetition known.
    """

    artifact: str
    generation: int
    version: str
    digest: str | None
    type: str
    id: str
    source: str
    action: str


def event_record(generation: int, event: Event) -> bytes:
    """The log record of an event that is being accepted, the same for every component that reads the log."""
    artifact = event.artifact
    return _encode(
        LogRecord(
            artifact.key, generation, artifact.version, artifact.digest, event.type, event.id, event.source, artifact.action
        )
    )


def log_record(component: str, artifact: str, generation: int, name: str, version: Version) -> bytes:
    """The log record of a version, from state alone."""
    named = render(component, artifact, generation, name, version).attributes
    return _encode(
        LogRecord(artifact, generation, name, version.digest, named["type"], named["id"], named["source"], version.action)
    )


_encode = msgspec.json.Encoder().encode


def _versions_between(view: PartitionView, artifact: str, after: int, until: int) -> Iterator[tuple[int, str, Version]]:
    for generation, name in view.versions_after(artifact, after):
        if generation > until:
            return
        version = view.version(artifact, name)
        if version is not None and version.generation == generation:
            yield generation, name, version


def _body(version: Version) -> bytes:
    return base64.b64decode(msgspec.json.decode(version.body, type=str)) if version.body_is_base64 else bytes(version.body)
