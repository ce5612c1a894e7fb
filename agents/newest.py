"""Which of an artifact's versions is the newest: the one accepted last, or the greatest by SemVer 2 (semver.org, section 11). Pure."""

from __future__ import annotations

from functools import lru_cache

import semver

from agents.routing import Newest
from tables.model import Head


def newest(head: Head, rule: Newest) -> str:
    """The version that `rule` calls newest. An artifact all of whose versions are deleted has its last event's."""
    return (head.newest or head.version) if rule == "semver" else head.version


def greatest(current: str, candidate: str) -> str:
    """The greater of the two by SemVer 2; the candidate, accepted later, where they are equal.

    A leading `v` is allowed, minor and patch may be missing. What is not SemVer is below all that is, and
    among its like the one accepted later is greater.
    """
    if not current or current == candidate:
        return candidate
    ours, theirs = _parsed(current), _parsed(candidate)
    if theirs is None:
        return candidate if ours is None else current
    return candidate if ours is None or theirs >= ours else current


@lru_cache(maxsize=16_384)
def _parsed(version: str) -> semver.Version | None:
    try:
        return semver.Version.parse(version.removeprefix("v"), optional_minor_and_patch=True)
    except ValueError:
        return None
