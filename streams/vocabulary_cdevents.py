"""CDEvents about artifacts and environments: types, and which artifact they are about. Matched on subject and predicate, any version.

The CloudEvent's `data` is the whole CDEvent; only `subject` and `customData` are looked at. `context` repeats CloudEvents attributes,
names its version differently before and after CDEvents 0.5, and does not count.

    dev.cdevents.artifact.packaged, published, signed, deleted     (M.m.p; packaged and published count as such, and so on)
      kind     customData.kind; else `chart` if the purl's type is `helm` or its `media_type` or `artifact_type` names helm;
               else `image` for the types `oci` and `docker`; else `artifact`
      name     of a chart the purl's name; else, for `oci` and `docker`, `repository_url`, with namespace and name appended where it
               does not end in them; else namespace and name
      version  the purl's `tag`; else the purl's version if it is no digest; else customData.version; else the digest
      digest   the purl's version if it is `sha256:…`; else the sha256 of `checksum`; else customData.digest; else none
    dev.cdeventsx.syncmaster-chart.customized
      the same, but always a chart; counts as modified
    dev.cdevents.environment.created, modified, deleted            (created counts as modified)
      kind     environment
      name     subject.id without scheme and host, and without a leading `environment/`
      version  `revision` of subject.content, else of customData; else customData.version; else the first 12 digits of the digest
      digest   SHA-256 of the canonical JSON of [subject.content, customData], so that the same content has the same version,
               whoever spelt it how; none for deleted

The purl is subject.id, else the CloudEvents `subject`; the id of an environment likewise.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache, partial
from typing import Annotated, Any

import msgspec

from streams.artifact_identity import artifact, key_of
from streams.cloudevents import cut
from streams.errors import Malformed
from streams.events import Action, Artifact
from streams.purl import Purl, read_purl
from streams.vocabulary_base import Reader, decode

KNOWN = (
    "dev.cdevents.artifact.{packaged,published,signed,deleted}.<version>, "
    "dev.cdevents.environment.{created,modified,deleted}.<version>, dev.cdeventsx.syncmaster-chart.customized.<version>"
)
_TYPE = re.compile(r"dev\.cdeventsx?\.([a-z-]+\.[a-z]+)\.\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?")
_ARTIFACT = {
    "artifact.packaged": Action.PACKAGED,
    "artifact.published": Action.PUBLISHED,
    "artifact.signed": Action.SIGNED,
    "artifact.deleted": Action.DELETED,
}
_ENVIRONMENT = {
    "environment.created": Action.MODIFIED,
    "environment.modified": Action.MODIFIED,
    "environment.deleted": Action.DELETED,
}

Version = str | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None


class _Custom(msgspec.Struct):
    kind: str | None = None
    version: Version = None
    revision: Version = None
    digest: str | None = None


class _Subject(msgspec.Struct):
    id: str | None = None


class _ArtifactEvent(msgspec.Struct):
    subject: _Subject | None = None
    customData: _Custom | str | None = None  # noqa: N815  CDEvents' own name; a string is somebody's opaque data


class _EnvironmentSubject(msgspec.Struct):
    id: str | None = None
    content: dict[str, Any] | None = None


class _EnvironmentEvent(msgspec.Struct):
    subject: _EnvironmentSubject | None = None
    customData: dict[str, Any] | str | None = None  # noqa: N815


_NO_CUSTOM = _Custom()
_artifact_event = msgspec.json.Decoder(_ArtifactEvent)
_environment_event = msgspec.json.Decoder(_EnvironmentEvent)


def reader_of(type_: str) -> Reader | None:
    match = _TYPE.fullmatch(type_)
    if match is None:
        return None
    what = match[1]
    if type_.startswith("dev.cdeventsx."):
        return partial(_read_artifact, Action.MODIFIED, "chart") if what == "syncmaster-chart.customized" else None
    if what in _ARTIFACT:
        return partial(_read_artifact, _ARTIFACT[what], None)
    return partial(_read_environment, _ENVIRONMENT[what]) if what in _ENVIRONMENT else None


def artifact_action(type_: str) -> Action | None:
    """What a type says happened to an artifact whose kind it leaves open; None for every other type."""
    match = _TYPE.fullmatch(type_)
    return None if match is None or type_.startswith("dev.cdeventsx.") else _ARTIFACT.get(match[1])


def _read_artifact(action: Action, kind: str | None, subject: str | None, data: msgspec.Raw) -> Artifact:
    event = decode(_artifact_event, data) if data else _ArtifactEvent()
    custom = event.customData if isinstance(event.customData, _Custom) else _NO_CUSTOM
    purl = read_purl(_subject_id(event.subject, subject))
    qualifiers = purl.qualifiers
    media_type = qualifiers.get("media_type") or qualifiers.get("artifact_type")
    key = artifact_key(kind or custom.kind, purl.type, purl.path, qualifiers.get("repository_url"), media_type)
    digest = _digest(purl) or custom.digest
    return artifact(key, _version(purl, custom) or digest or "", digest, action)


def _subject_id(subject: _Subject | _EnvironmentSubject | None, fallback: str | None) -> str:
    found = (subject.id if subject is not None else None) or fallback
    if not found:
        raise Malformed("subject.missing", "found neither data.subject.id nor the attribute subject; expected one of them")
    return found


@lru_cache(maxsize=8192)
def artifact_key(kind: str | None, type_: str, path: str, repository: str | None, media_type: str | None) -> str:
    """Remembered by what stays the same from one version of an artifact to the next."""
    kind = kind or _kind(type_, media_type or "")
    if kind == "chart":
        return key_of(kind, path.rpartition("/")[2])
    if repository is None or type_ not in ("oci", "docker"):
        return key_of(kind, path)
    repository = repository.removeprefix("https://").removeprefix("http://").rstrip("/")
    complete = f"/{repository}".casefold().endswith(f"/{path}".casefold())
    return key_of(kind, repository if complete else f"{repository}/{path}")


def _kind(type_: str, media_type: str) -> str:
    if type_ == "helm" or "helm" in media_type:
        return "chart"
    return "image" if type_ in ("oci", "docker") else "artifact"


def _version(purl: Purl, custom: _Custom) -> str:
    tag = purl.qualifiers.get("tag")
    if tag:
        return tag
    if purl.version and not purl.version.startswith("sha256:"):
        return purl.version
    return str(custom.version) if custom.version is not None else ""


def _digest(purl: Purl) -> str | None:
    if purl.version.startswith("sha256:"):
        return purl.version
    checksums = purl.qualifiers.get("checksum", "").split(",")
    return next((checksum for checksum in checksums if checksum.startswith("sha256:")), None)


def _read_environment(action: Action, subject: str | None, data: msgspec.Raw) -> Artifact:
    event = decode(_environment_event, data) if data else _EnvironmentEvent()
    name = _environment_name(_subject_id(event.subject, subject))
    content = (event.subject.content if event.subject is not None else None) or {}
    custom = event.customData if isinstance(event.customData, dict) else {}
    digest = hashlib.sha256(msgspec.json.encode([content, event.customData], order="sorted")).hexdigest()
    version = _revision(content.get("revision"), custom.get("revision"), custom.get("version")) or digest[:12]
    return artifact(key_of("environment", name), version, None if action is Action.DELETED else f"sha256:{digest}", action)


def _environment_name(subject_id: str) -> str:
    """`prod` of `prod`, of `environment/prod`, and of `https://portal.example/environment/prod`."""
    _, scheme, rest = subject_id.partition("://")
    path = rest.partition("/")[2] if scheme else subject_id
    return path.removeprefix("environment/")


def _revision(*candidates: object) -> str:
    for candidate in candidates:
        if candidate is None or candidate == "":
            continue
        if isinstance(candidate, bool) or not isinstance(candidate, str | int):
            raise Malformed("version.invalid", f"found the revision {cut(candidate)}; expected a string or an integer")
        return str(candidate)
    return ""
