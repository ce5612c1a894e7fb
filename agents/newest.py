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
    ours, theirs = precedence(current), precedence(candidate)
    if theirs is None:
        return candidate if ours is None else current
    return candidate if ours is None or theirs >= ours else current


def is_beyond(current: str, candidate: str) -> bool:
    """Whether the candidate is greater by SemVer 2 than `current`, and not only as great: then it cannot be among those before."""
    ours, theirs = precedence(current), precedence(candidate)
    return ours is not None and theirs is not None and theirs > ours


#: (major, minor, patch, 1 for a release or 0 for a pre-release, its identifiers): compares as SemVer says.
Precedence = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]


@lru_cache(maxsize=16_384)
def precedence(version: str) -> Precedence | None:
    """None for what is not SemVer. Nearly all versions are plain `1.2.3` and need no grammar."""
    plain = version.removeprefix("v")
    parts = plain.split(".")
    if len(parts) == 3 and plain.isascii() and all(part.isdecimal() and (part[0] != "0" or part == "0") for part in parts):
        return int(parts[0]), int(parts[1]), int(parts[2]), 1, ()
    try:
        parsed = semver.Version.parse(plain, optional_minor_and_patch=True)
    except ValueError:
        return None
    identifiers = tuple(map(_identifier, parsed.prerelease.split("."))) if parsed.prerelease else ()
    return parsed.major, parsed.minor, parsed.patch, 0 if identifiers else 1, identifiers


def _identifier(text: str) -> tuple[int, int, str]:
    """Numbers compare as numbers and are below words; fewer identifiers are below more."""
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)
