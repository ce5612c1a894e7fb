"""Folds one accepted event into its artifact's head and version: the only place where an artifact's state grows. Pure but for the overlay."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Collection, Iterable

import msgspec

from agents.course import Course
from agents.dedup import HEAD_TAKEN_MAX, VERSION_TAKEN_MAX, remembered
from agents.newest import greatest
from agents.routing import Target
from agents.sync_state import apply_event
from streams.events import Action, Artifact, Event, Incoming
from streams.ingress import Ingress
from tables.audit_record import state_digest
from tables.model import Head, Provenance, Version
from tables.overlay import Overlay


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A decoded event together with what it arrived as; `taken` is its hash for dedup, `id` that of the audit record about it.

    `command` is that of the release which brought it out of quarantine.
    """

    event: Event
    incoming: Incoming
    ingress: Ingress
    ingress_text: str
    course: Course
    taken: str
    key: bytes
    version_key: bytes
    id: str
    command: str = ""


def accept(  # noqa: PLR0917 - on the path of every event, where keywords cost
    arrival: Arrival,
    head: Head | None,
    version: Version | None,
    targets: Iterable[Target],
    held: Collection[str],
    overlay: Overlay,
    now_ms: int,
    hlc: str,
) -> Head:
    """Raise the generation, remember the version, set what each component desires.

    `head` and `version` are the entries that the artifact and its version have so far; the head given is changed. `held` names
    the components that read the log whose records wait.
    """
    artifact = arrival.event.artifact
    leads = head is None or leads_to_new_state(head, artifact)
    provenance = _provenance(arrival, hlc)
    if head is None:
        head = Head(artifact.version, artifact.digest, 0, provenance)
    elif leads:
        head.version, head.digest = artifact.version, artifact.digest
    if leads:
        head.action = artifact.action
    else:
        targets = [target for target in targets if target.mode == "every" or target.newest == "semver"]
    head.generation = generation = head.generation + 1
    head.accepted += 1
    head.provenance = provenance
    head.newest = _newest(head.newest, artifact, overlay)
    if artifact.action is Action.DELETED:
        head.has_deleted = True
    head.taken_hashes = remembered(arrival.taken, head.taken_hashes, HEAD_TAKEN_MAX)
    head.state = state_digest(head)
    head.sync = apply_event(head.sync, targets, generation, artifact.version, head.newest or head.version, now_ms, held)
    overlay.put_head(artifact.key, head)
    overlay.put_version_at(arrival.version_key, _version(arrival, version, generation, now_ms))
    return head


#: Such an event changes a version that is not the current one, and nothing else.
_ADDS_ONLY = frozenset({Action.SIGNED, Action.DELETED})


def leads_to_new_state(head: Head, artifact: Artifact) -> bool:
    """Whether the event makes a new state of the artifact, or only adds to what is known of an older version."""
    return not _adds_only(artifact) or artifact.version == head.version


def _adds_only(artifact: Artifact) -> bool:
    return artifact.action in _ADDS_ONLY


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
        event.id,
        event.source,
        event.type,
        ingress.principal,
        ingress.stream,
        ingress.mark,
        ingress.ingress_ms,
        ingress.cluster,
        event.time,
        hlc,
    )


def _version(arrival: Arrival, before: Version | None, generation: int, now_ms: int) -> Version:
    artifact, body = arrival.event.artifact, arrival.incoming.body
    is_json = body[:1] == b"{" or _embeds(body)
    return Version(
        generation,
        _digest(artifact, before),
        artifact.action,
        arrival.ingress_text,
        arrival.incoming.headers,
        msgspec.Raw(body if is_json else b'"' + b2a_base64(body, newline=False) + b'"'),
        not is_json,
        now_ms,
        arrival.taken if before is None else remembered(arrival.taken, before.taken_hashes, VERSION_TAKEN_MAX),
    )


def _digest(artifact: Artifact, before: Version | None) -> str | None:
    """A signature or a deletion that tells no digest leaves the one that is known: `digest_immutable` compares with it."""
    if artifact.digest is None and before is not None and _adds_only(artifact):
        return before.digest
    return artifact.digest


def _embeds(body: bytes) -> bool:
    """Whether the body can stand inside the version's JSON as it is. An event that was accepted is JSON; its first byte tells."""
    return body.lstrip()[:1] in {b"{", b"["}
