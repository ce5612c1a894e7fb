"""Folds one accepted event into its artifact's head and version: the only place where an artifact's state grows. Pure but for the overlay."""

from __future__ import annotations

from binascii import b2a_base64

import msgspec

from agents.dedup import HEAD_TAKEN_MAX, VERSION_TAKEN_MAX, remember
from agents.newest import greatest
from agents.routing import Routing, Target
from agents.sync_state import apply_event
from streams.events import Action, Event, Incoming
from streams.ingress import Ingress
from tables.model import Head, Provenance, Version
from tables.overlay import Overlay


class Arrival(msgspec.Struct, frozen=True):
    """A decoded event together with what it arrived as; `taken` is its hash for dedup."""

    event: Event
    incoming: Incoming
    ingress: Ingress
    ingress_text: str
    taken: str


def accept(arrival: Arrival, overlay: Overlay, routing: Routing, *, now_ms: int, hlc: str) -> tuple[Head, list[Target]]:
    """Raise the generation, remember the version, set what each component desires. Returns the head and the log targets reached."""
    event, key = arrival.event, arrival.event.artifact.key
    artifact = event.artifact
    before = overlay.head(key)
    generation = 1 if before is None else before.generation + 1
    leads = before is None or leads_to_new_state(before, event)
    newest = _newest(before, event, overlay)
    targets = [target for target in routing.targets(key) if leads or target.mode == "every" or newest == artifact.version]
    sync = apply_event({} if before is None else before.sync, targets, generation, artifact.version, newest, now_ms)
    head = Head(
        version=artifact.version if leads or before is None else before.version,
        digest=artifact.digest if leads or before is None else before.digest,
        generation=generation,
        provenance=_provenance(arrival, hlc),
        action=artifact.action if leads or before is None else before.action,
        newest=newest,
        sync=sync,
        taken=remember(arrival.taken, [] if before is None else before.taken, HEAD_TAKEN_MAX),
        accepted=1 if before is None else before.accepted + 1,
        parked=0 if before is None else before.parked,
        holds=[] if before is None else before.holds,
    )
    overlay.put_head(key, head)
    overlay.put_version(key, artifact.version, _version(arrival, overlay, generation, now_ms))
    return head, [target for target in targets if target.sink_type == "log" and sync[target.component].delivered == generation]


def leads_to_new_state(before: Head, event: Event) -> bool:
    """Whether the event makes a new state of the artifact, or only adds to what is known of an older version.

    A signature or a deletion of a version that is not the current one changes that version alone.
    """
    return event.artifact.action not in {Action.SIGNED, Action.DELETED} or event.artifact.version == before.version


def _newest(before: Head | None, event: Event, overlay: Overlay) -> str:
    """The greatest version by SemVer that is not deleted."""
    current = "" if before is None else before.newest
    version = event.artifact.version
    if event.artifact.action is not Action.DELETED:
        return greatest(current, version)
    if current != version:
        return current
    left = ""
    for other, entry in overlay.versions(event.artifact.key):
        if other != version and entry.action is not Action.DELETED:
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


def _version(arrival: Arrival, overlay: Overlay, generation: int, now_ms: int) -> Version:
    artifact, body = arrival.event.artifact, arrival.incoming.body
    before = overlay.version(artifact.key, artifact.version)
    is_json = _embeds(body)
    return Version(
        generation=generation,
        digest=artifact.digest,
        action=artifact.action,
        ingress=arrival.ingress_text,
        headers=arrival.incoming.headers,
        body=msgspec.Raw(body if is_json else b'"' + b2a_base64(body, newline=False) + b'"'),
        body_is_base64=not is_json,
        accepted_ms=now_ms,
        taken=remember(arrival.taken, [] if before is None else before.taken, VERSION_TAKEN_MAX),
    )


def _embeds(body: bytes) -> bool:
    """Whether the body can stand inside the version's JSON as it is. An event that was accepted is JSON; its first byte tells."""
    return body[:1] in {b"{", b"["} or body.lstrip()[:1] in {b"{", b"["}
