"""Policy `allow_deny`: patterns for the registry and the namespace that an artifact is kept in, and for the source that tells of it.

What is denied is denied whatever is allowed. Registries and namespaces have no case. A registry that is no plain host name (user names,
letters of other scripts) is refused, because nobody can tell what a client would make of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from agents.policies.base import Case, Check, Finding
from streams.cloudevents import cut
from streams.settings_base import glob
from streams.settings_policies import AllowDeny, Patterns

_TEXTS_MAX = 16_384
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?)?")

Judge = Callable[[str], Finding | None]


def allow_deny(policy: AllowDeny) -> Check:
    registry, namespace = _registry(_lowered(policy.registries)), _judge("namespace", _lowered(policy.namespaces))
    of_source = lru_cache(maxsize=_TEXTS_MAX)(_judge("source", policy.sources))
    looks_at_place = registry is not _fine or namespace is not _fine

    @lru_cache(maxsize=_TEXTS_MAX)
    def of_place(artifact: str) -> Finding | None:
        host, path = place_of(artifact)
        return registry(host) or namespace(path)

    def check(case: Case) -> Finding | None:
        found = of_place(case.event.artifact.key) if looks_at_place else None
        return found or of_source(case.event.source)

    return check


def place_of(artifact: str) -> tuple[str, str]:
    """(registry, namespace) of an artifact's key, each empty where it has none.

    The first segment of a name is a registry if it looks like a host, as in references of images: it has a dot or a port, or is `localhost`.
    """
    first, *rest = artifact.partition("/")[2].lower().split("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        return first.removesuffix(":443").rstrip("."), "/".join(rest[:-1])
    return "", "/".join([first, *rest][:-1])


def _registry(patterns: Patterns) -> Judge:
    judge = _judge("registry", patterns)
    if judge is _fine:
        return _fine

    def check(host: str) -> Finding | None:
        if not _HOST.fullmatch(host):
            return Finding("registry.invalid", f"found the registry {cut(host)}; expected a host name in ASCII")
        return judge(host)

    return check


def _judge(what: str, patterns: Patterns) -> Judge:
    allow, deny = ([(pattern, glob(pattern).fullmatch) for pattern in found] for found in (patterns.allow, patterns.deny))

    def judge(text: str) -> Finding | None:
        for pattern, matches in deny:
            if matches(text):
                return Finding(f"{what}.denied", f"found the {what} {cut(text)}, which the pattern {pattern} denies")
        if not allow or any(matches(text) for _, matches in allow):
            return None
        wish = ", ".join(pattern for pattern, _ in allow)
        return Finding(f"{what}.not_allowed", f"found the {what} {cut(text)}; expected one of {wish}")

    return judge if allow or deny else _fine


def _fine(_: str) -> Finding | None:
    return None


def _lowered(patterns: Patterns) -> Patterns:
    return Patterns(allow=tuple(p.lower() for p in patterns.allow), deny=tuple(p.lower() for p in patterns.deny))
