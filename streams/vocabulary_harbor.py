"""Harbor's webhooks in the CloudEvents format (goharbor/harbor, src/pkg/notifier/formats): an image was pushed or deleted.

| type                                       | name                                       | version                          | digest              |
|--------------------------------------------|--------------------------------------------|----------------------------------|---------------------|
| harbor.artifact.pushed, .deleted           | data.resources[0].resource_url without tag | data.resources[0].tag, which is  | resources[0].digest |
|                                            | and digest; else repository.repo_full_name | the digest where there is no tag |                     |

Harbor's *default* format is no CloudEvent; its adapter is not here.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec

from streams.artifact_identity import artifact, key_of
from streams.errors import Malformed
from streams.events import Action, Artifact
from streams.vocabulary_base import Reader, decode, without_change

KNOWN = "harbor.artifact.{pushed,deleted}"
_ACTIONS = {"harbor.artifact.pushed": Action.PUBLISHED, "harbor.artifact.deleted": Action.DELETED}


class _Resource(msgspec.Struct):
    digest: str | None = None
    tag: str | None = None
    resource_url: str = ""


class _Repository(msgspec.Struct, frozen=True):
    repo_full_name: str = ""


class _Data(msgspec.Struct):
    resources: Annotated[list[_Resource], msgspec.Meta(min_length=1, max_length=1)]
    repository: _Repository = _Repository()


_data = msgspec.json.Decoder(_Data)


def reader_of(type_: str) -> Reader | None:
    if type_ in _ACTIONS:
        return partial(_read, _ACTIONS[type_])
    if type_.startswith("harbor."):
        raise without_change(type_)
    return None


def _read(action: Action, subject: str | None, data: msgspec.Raw) -> Artifact:
    if not data:
        raise Malformed("data.invalid", "found no data; expected Harbor's resources and repository")
    event = decode(_data, data)
    resource = event.resources[0]
    name = _repository_of(resource.resource_url) or event.repository.repo_full_name
    return artifact(key_of("image", name), resource.tag or resource.digest or "", resource.digest or None, action)


def _repository_of(url: str) -> str:
    """`harbor.dev/library/busybox` of `harbor.dev/library/busybox:1.2` and of `harbor.dev/library/busybox@sha256:…`."""
    path = url.partition("@")[0]
    head, slash, last = path.rpartition("/")
    return head + slash + last.partition(":")[0]
