"""Policies that are valid and do nothing: selectors that match nothing known. Part of `config_lint.py`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from streams.artifact_identity import KINDS
from streams.config_problem import Problem, Source
from streams.config_yaml import Path
from streams.globs import overlap
from streams.settings import Settings
from streams.settings_base import glob
from streams.settings_policies import AnyPolicy, EventPolicy, SizeLimit
from streams.vocabulary import FAMILIES


def lint_policies(settings: Settings, source: Source) -> Iterator[Problem]:
    for index, policy in enumerate(settings.policies):
        path = ("policies", index)
        yield from _principals(policy, path, settings, source)
        if isinstance(policy, EventPolicy):
            yield from _types(policy, path, source)
            yield from _artifacts(policy, path, source)
        if isinstance(policy, SizeLimit) and policy.bytes_max >= settings.limits.event_bytes_max:
            told = "is not below limits.event_bytes_max, above which nothing is an event"
            yield source.problem((*path, "bytes_max"), told, "lower it, or remove the policy", level="warning")


def _principals(policy: AnyPolicy, path: Path, settings: Settings, source: Source) -> Iterator[Problem]:
    for position, pattern in enumerate(policy.principals):
        if not any(map(glob(pattern).fullmatch, settings.principals)):
            known = ", ".join(sorted(settings.principals)) or "none"
            mend = f"the principals are {known}"
            yield source.problem((*path, "principals", position), "matches no principal", mend, level="warning")


def _types(policy: EventPolicy, path: Path, source: Source) -> Iterator[Problem]:
    for position, pattern in enumerate(policy.types):
        if not any(overlap(pattern, known) for known in known_types()):
            mend = f"the types are {', '.join(family.KNOWN for family in FAMILIES)}"
            yield source.problem((*path, "types", position), "matches no type of event", mend, level="warning")


def _artifacts(policy: EventPolicy, path: Path, source: Source) -> Iterator[Problem]:
    for position, pattern in enumerate(policy.artifacts):
        if not any(overlap(pattern, f"{kind}/*") for kind in KINDS):
            kinds = ", ".join(f"{kind}/*" for kind in sorted(KINDS))
            told = "matches no kind of artifact"
            yield source.problem((*path, "artifacts", position), told, f"the kinds are {kinds}", level="warning")
    needs_one = policy.environments and all(pattern.strip("*") for pattern in policy.environments)
    if needs_one and policy.artifacts and not any(overlap(pattern, "environment/*") for pattern in policy.artifacts):
        mend = "select environment/* in `artifacts`, or drop `environments`"
        yield source.problem(
            (*path, "environments"), "only kind environment has one, and it is not selected", mend, level="warning"
        )


def known_types() -> Iterator[str]:
    """Every type that has a reader, its version as a star: `a.{b,c}.<version>` of a family's KNOWN is `a.b.*` and `a.c.*`."""
    for family in FAMILIES:
        for text in family.KNOWN.split(", "):
            parts = [part.split(",") for part in re.split(r"[{}]", text.replace("<version>", "*"))]
            yield from map("".join, itertools.product(*parts))
