"""Folds one accepted event into its artifact's head and version: the only place where an artifact's state grows. Pure but for the overlay."""

from __future__ import annotations

from binascii import b2a_base64

import msgspec

from agents.dedup import HEAD_TAKEN_MAX, VERSION_TAKEN_MAX, remember
from agents.newest import greatest
from agents.routing import Routing, Target
from agents.sync_state import apply_event
from streams.events import Action, Artifact, Event, Incoming
from streams.holds import Holds
from streams.ingress import Ingress
from tables.model import Head, Provenance, Version
from tables.overlay import Overlay


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A decoded event together with what it arrived as; `taken` is its hash for dedup."""

    event: Event
    incoming: Incoming
    ingress: Ingress
    ingress_text: str
    taken: str
    version_key: bytes


def accept(
    arrival: Arrival, overlay: Overlay, routing: Routing, holds: Holds, *, version: Version | None, now_ms: int, hlc: str
) -> tuple[Head, list[Target]]:
    """Raise the generation, remember the version, set what each component desires.

    `version` is the entry that the artifact's version has so far. Returns the head, and the targets that get a record in the log now.
    """
    artifact = arrival.event.artifact
    head = overlay.head(artifact.key)
    leads = head is None or leads_to_new_state(head, artifact)
    provenance = _provenance(arrival, hlc)
    if head is None:
        head = Head(artifact.version, artifact.digest, 0, provenance)
    elif leads:
        head.version, head.digest = artifact.version, artifact.digest
    if leads:
        head.action = artifact.action
    head.generation += 1
    head.accepted += 1
    head.provenance = provenance
    head.newest = _newest(head.newest, artifact, overlay)
    remember(arrival.taken, head.taken, HEAD_TAKEN_MAX)
    targets = routing.targets(artifact.key)
    if not leads:
        targets = tuple(target for target in targets if target.mode == "every" or target.newest == "semver")
    held = {t.component for t in targets if t.sink_type == "log" and holds.blocks(artifact.key, t.component)} if holds else ()
    head.sync = apply_event(head.sync, targets, head.generation, artifact.version, head.newest or head.version, now_ms, held)
    overlay.put_head(artifact.key, head)
    overlay.put_version_at(arrival.version_key, _version(arrival, version, head.generation, now_ms))
    return head, [t for t in targets if t.sink_type == "log" and head.sync[t.component].delivered == head.generation]


def leads_to_new_state(head: Head, artifact: Artifact) -> bool:
    """Whether the event makes a new state of the artifact, or only adds to what is known of an older version.

    A signature or a deletion of a version that is not the current one changes that version alone.
    """
    return not _adds_only(artifact) or artifact.version == head.version


def _adds_only(artifact: Artifact) -> bool:
    return artifact.action is Action.SIGNED or artifact.action is Action.DELETED


def _newest(current: str, artifact: Artifact, overlay: Overlay) -> str:
    """The greatest version by SemVer that is not deleted."""
    if artifact.action is not Action.DELETED:
        return greatest(current, artifact.version)
    if current != artifact.version:
        return current
    left = ""
    for other, entry in overlay.versions(artifact.key):
        if other != artifact.version and entry.action is not Action.DELETED:
            left = greatest(left, other)
    return left


def _provenance(arrival: Arrival, hlc: str) -> Provenance:
    event, ingress = arrival.event, arrival.ingress
    return Provenance(
        id=event.id,
        source=event.source,
        type=event.type,
        principal=ingress.principal,
        stream=ingress.stream,
        mark=ingress.mark,
        ingress_ms=ingress.ingress_ms,
        cluster=ingress.cluster,
        time=event.time,
        hlc=hlc,
    )


def _version(arrival: Arrival, before: Version | None, generation: int, now_ms: int) -> Version:
    artifact, body = arrival.event.artifact, arrival.incoming.body
    is_json = body[:1] == b"{" or _embeds(body)
    taken = [] if before is None else before.taken
    remember(arrival.taken, taken, VERSION_TAKEN_MAX)
    return Version(
        generation=generation,
        digest=_digest(artifact, before),
        action=artifact.action,
        ingress=arrival.ingress_text,
        headers=arrival.incoming.headers,
        body=msgspec.Raw(body if is_json else b'"' + b2a_base64(body, newline=False) + b'"'),
        body_is_base64=not is_json,
        accepted_ms=now_ms,
        taken=taken,
    )


def _digest(artifact: Artifact, before: Version | None) -> str | None:
    """A signature or a deletion that tells no digest leaves the one that is known: `digest_immutable` compares with it."""
    if artifact.digest is None and before is not None and _adds_only(artifact):
        return before.digest
    return artifact.digest


def _embeds(body: bytes) -> bool:
    """Whether the body can stand inside the version's JSON as it is. An event that was accepted is JSON; its first byte tells."""
    return body.lstrip()[:1] in {b"{", b"["}
