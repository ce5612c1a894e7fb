"""Policy `version_forward`: versions are SemVer 2 and do not go back behind the greatest that was accepted and is not deleted.

The same version again is no step back (`digest_immutable` looks at what it holds). A signature or a deletion may be about any version.
"""

from __future__ import annotations

from agents.newest import precedence
from agents.policies.base import Case, Check, Finding
from streams.cloudevents import cut
from streams.events import Action
from streams.settings_policies import VersionForward

_ANY_VERSION = (Action.SIGNED, Action.DELETED)


def version_forward(_: VersionForward) -> Check:
    return check


def check(case: Case) -> Finding | None:
    artifact = case.event.artifact
    if artifact.action in _ANY_VERSION:
        return None
    told = precedence(artifact.version)
    if told is None:
        return Finding("version.not_semver", f"found version {cut(artifact.version)}; expected SemVer 2, such as 1.4.0")
    newest = case.head.newest if case.head is not None else ""
    known = precedence(newest) if newest else None
    if known is None or told >= known:
        return None
    return Finding("version.back", f"found version {artifact.version} behind {newest}; expected {newest} or greater")
