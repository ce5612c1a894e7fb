"""zot's events (project-zot/zot, pkg/extensions/events): an image was updated or deleted in a registry.

| type                                           | kind, name                                           | version        | digest      |
|------------------------------------------------|------------------------------------------------------|----------------|-------------|
| zotregistry.image.updated, .deleted            | image, data.name; a manifest with a Helm config is a | data.reference | data.digest |
|                                                | chart, called by the last segment of data.name       |                |             |

`source` is `zotregistry.dev` for every zot there is, so nothing tells two registries apart but the principal.
"""

from __future__ import annotations

from functools import partial

import msgspec

from streams.artifact_identity import artifact, key_of
from streams.errors import Malformed
from streams.events import Action, Artifact
from streams.vocabulary_base import Reader, decode, without_change

KNOWN = "zotregistry.image.{updated,deleted}"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
_ACTIONS = {"zotregistry.image.updated": Action.PUBLISHED, "zotregistry.image.deleted": Action.DELETED}


class _Data(msgspec.Struct):
    name: str
    reference: str = ""
    digest: str | None = None
    manifest: str | None = None


_data = msgspec.json.Decoder(_Data)


def reader_of(type_: str) -> Reader | None:
    if type_ in _ACTIONS:
        return partial(_read, _ACTIONS[type_])
    if type_.startswith("zotregistry."):
        raise without_change(type_)
    return None


def _read(action: Action, subject: str | None, data: msgspec.Raw) -> Artifact:
    if not data:
        raise Malformed("data.invalid", "found no data; expected zot's name, reference and digest")
    event = decode(_data, data)
    chart = HELM_CONFIG in (event.manifest or "")
    name = event.name.rpartition("/")[2] if chart else event.name
    return artifact(
        key_of("chart" if chart else "image", name), event.reference or event.digest or "", event.digest or None, action
    )
