"""What an event is, once decoded. How bytes become one is `codec.py`; where it came from is `ingress.py`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class Action(StrEnum):
    """What happened to the artifact: the predicate of a CDEvents type, or the nearest one of an adapter's."""

    PACKAGED = "packaged"
    PUBLISHED = "published"
    SIGNED = "signed"
    MODIFIED = "modified"
    DELETED = "deleted"

    #: Enum's own is written in Python.
    __hash__ = str.__hash__


class Artifact(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an event says about which artifact.

    `key` is `<kind>/<name>`, without version or digest: `chart/argo-cd`, `image/ghcr.io/argoproj/argocd`,
    `environment/prod`. It is the Kafka key everywhere. `version` is never empty: where the source has no
    version (an environment), it is derived from the content, so that the same content has the same version.
    `digest` is `sha256:<64 hex>` or None where the source does not tell one.
    """

    key: str
    version: str
    digest: str | None
    action: Action

    @property
    def kind(self) -> str:
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        return self.key.partition("/")[2]


class Event(msgspec.Struct, frozen=True, gc=False):
    """What one CloudEvent 1.0 says about one artifact. Its payload stays in the bytes that it came in (`Incoming`).

    `extensions` holds the producer's own extension attributes; those that the door stamps (`smprincipal`,
    `smcluster`, `smingress`, `recordedtime`) have been dropped from it, whatever was sent.
    """

    id: str
    source: str
    type: str
    artifact: Artifact
    time: str | None = None
    subject: str | None = None
    dataschema: str | None = None
    datacontenttype: str | None = None
    extensions: dict[str, Any] = {}


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """One message as it came through a door, before anybody judged it: body and the headers that matter to decoding.

    `headers` holds lower-case names: `ce-*` (binary mode) and `content-type`. Everything else is dropped at the door.
    """

    body: bytes
    headers: dict[str, str] = {}
