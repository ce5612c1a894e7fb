"""Policy `digest_immutable`: a version that was accepted with a digest keeps it, also when it was deleted in between.

An event that announces the version again without a digest cannot be compared, and is held to have changed it. A signature or a deletion
may leave the digest out: it adds to what is known.
"""

from __future__ import annotations

from agents.policies.base import Case, Check, Finding
from streams.events import Action
from streams.settings_policies import DigestImmutable

_ADDS_ONLY = (Action.SIGNED, Action.DELETED)


def digest_immutable(_: DigestImmutable) -> Check:
    return check


def check(case: Case) -> Finding | None:
    known = case.version.digest if case.version is not None else None
    artifact = case.event.artifact
    if known is None or artifact.digest == known or (artifact.digest is None and artifact.action in _ADDS_ONLY):
        return None
    found = f"found {artifact.digest or 'no digest'} for version {artifact.version}"
    return Finding("digest.changed", f"{found}, which was accepted with {known}; give what is different a version of its own")
