"""Policy `digest_required`: an event tells the digest of what it announces, well formed. A deletion need not: it brings nothing in."""

from __future__ import annotations

from agents.policies.base import Case, Check, Finding
from streams.artifact_identity import is_digest
from streams.cloudevents import cut
from streams.events import Action
from streams.settings_policies import DigestRequired

_WISH = "expected sha256: and 64 hexadecimal digits, in the purl, its `checksum`, or customData.digest"


def digest_required(_: DigestRequired) -> Check:
    return check


def check(case: Case) -> Finding | None:
    artifact = case.event.artifact
    if artifact.digest is None:
        return None if artifact.action is Action.DELETED else Finding("digest.missing", f"found no digest; {_WISH}")
    return None if is_digest(artifact.digest) else Finding("digest.invalid", f"found {cut(artifact.digest)}; {_WISH}")
