"""The short way for the event that nearly all are: a structured CDEvent about an artifact, plain ASCII, nothing to explain. Pure.

One pass of msgspec over the bytes instead of two, and no look at what cannot be wrong any more. It knows no reasons: whatever is not
plainly right is None here, and `codec.decode_event` tells, the long way, what it is or why it is refused. A property test holds the two
to the same answers.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from streams.artifact_identity import VERSION_CHARS_MAX, is_digest
from streams.cloudevents import Value, is_json
from streams.envelope import ID_CHARS_MAX, SOURCE_CHARS_MAX, TIME_CHARS_MAX, TYPE_CHARS_MAX, parse_time
from streams.errors import Malformed
from streams.events import Action, Artifact, Event
from streams.purl import plain_purl
from streams.settings import Limits
from streams.vocabulary_cdevents import artifact_action, artifact_key


class _Custom(msgspec.Struct, gc=False):
    kind: str | None = None
    version: str | None = None
    digest: str | None = None


class _Subject(msgspec.Struct, gc=False):
    id: str


class _Data(msgspec.Struct, gc=False):
    subject: _Subject
    customData: _Custom | None = None  # noqa: N815  CDEvents' own name


class _Structured(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    specversion: Literal["1.0"]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARS_MAX)]
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=SOURCE_CHARS_MAX)]
    type: Annotated[str, msgspec.Meta(min_length=1, max_length=TYPE_CHARS_MAX)]
    data: _Data
    time: Annotated[str, msgspec.Meta(max_length=TIME_CHARS_MAX)] | None = None
    subject: Value | None = None
    datacontenttype: Value | None = None
    dataschema: Value | None = None


_decode = msgspec.json.Decoder(_Structured).decode
#: As numbers: to find one byte is one pass of memchr, to find a `bytes` of one is twice as slow.
_BACKSLASH, _DEL, _BRACKET = 0x5C, 0x7F, 0x5B
#: What follows the `@` of nearly every purl.
_version_and_digest = re.compile(r"([A-Za-z0-9._-]+)\?checksum=(sha256:[0-9a-f]{64})").fullmatch
_KEYS_CACHED_MAX = 65_536


def read_fast(body: bytes, limits: Limits) -> Event | None:
    """The event, or None: look closer."""
    event = _plain(body, limits)
    action = None if event is None else _action(event.type)
    if event is None or action is None:
        return None
    artifact = _artifact(action, event.data.subject.id, event.data.customData)
    if artifact is None:
        return None
    return Event(event.id, event.source, event.type, artifact, event.time, event.subject, event.dataschema, event.datacontenttype)


def read_key(body: bytes, limits: Limits) -> str | None:
    """The key of what `read_fast` would return, None where that is None: all that the bridge needs, at two thirds of the cost."""
    event = _plain(body, limits)
    action = None if event is None else _action(event.type)
    if event is None or action is None:
        return None
    subject_id, custom = event.data.subject.id, event.data.customData
    head, _, tail = subject_id.partition("@")
    found = _version_and_digest(tail)
    if found is not None and found.end(1) <= VERSION_CHARS_MAX:
        key = _key(head, None if custom is None else custom.kind)
        if key is not None:
            return key
    artifact = _artifact_of_any(action, subject_id, custom)
    return None if artifact is None else artifact.key


def _plain(body: bytes, limits: Limits) -> _Structured | None:
    """What is right but for its type and artifact, which the callers look at."""
    if not _is_plain(body, limits):
        return None
    try:
        event = _decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if event.datacontenttype is not None and not is_json(event.datacontenttype):
        return None
    return None if event.time is not None and parse_time(event.time) is None else event


def _is_plain(body: bytes, limits: Limits) -> bool:
    """Within the bounds; and ASCII without an escape or DEL, which cannot spell a control character: JSON has no other way to."""
    return (
        body.isascii()
        and body.find(_BACKSLASH) < 0
        and body.find(_DEL) < 0
        and len(body) <= limits.event_bytes_max
        and body.count(b"{") + (body.count(b"[") if body.find(_BRACKET) >= 0 else 0) <= limits.json_depth_max
    )


@lru_cache(maxsize=1024)
def _action(event_type: str) -> Action | None:
    return artifact_action(event_type)


def _artifact(action: Action, subject_id: str, custom: _Custom | None) -> Artifact | None:
    head, _, tail = subject_id.partition("@")
    found = _version_and_digest(tail)
    if found is not None:
        key = _key(head, None if custom is None else custom.kind)
        version, digest = found.groups()
        if key is not None and len(version) <= VERSION_CHARS_MAX:
            return Artifact(key, version, digest, action)
    return _artifact_of_any(action, subject_id, custom)


@lru_cache(maxsize=_KEYS_CACHED_MAX)
def _key(head: str, kind: str | None) -> str | None:
    """The artifact key of a purl without its version: the same from one version to the next. None: read the purl as a whole."""
    purl = plain_purl(head)
    if purl is None or purl.type == "oci" or purl.pairs:  # versions of type `oci` are in lower case
        return None
    try:
        return artifact_key(kind, purl.type, purl.path, None, None)
    except Malformed:
        return None


def _artifact_of_any(action: Action, subject_id: str, custom: _Custom | None) -> Artifact | None:
    purl = plain_purl(subject_id)
    if purl is None:
        return None
    kind, tag, repository, digest, version = None, "", None, None, purl.version
    if custom is not None:
        kind = custom.kind
    for name, value in purl.pairs:
        if name == "tag":
            tag = value
        elif name == "repository_url":
            repository = value
        elif name == "checksum":
            digest = value
        else:
            return None
    if version.startswith("sha256:"):
        version, digest = "", version
    if digest is None and custom is not None:
        digest = custom.digest
    version = tag or version or (custom.version if custom is not None else None) or digest or ""
    if not version or len(version) > VERSION_CHARS_MAX or (digest is not None and not is_digest(digest)):
        return None
    try:
        return Artifact(artifact_key(kind, purl.type, purl.path, repository, None), version, digest, action)
    except Malformed:
        return None
