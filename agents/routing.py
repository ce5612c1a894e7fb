"""Which components an artifact is for, and how: the routes of the configuration, compiled. Pure; what follows from it: `sync_state.py`.

That no two routes name one component for one artifact is checked with the configuration; here the first one wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import msgspec

from streams.settings import Settings, glob

Mode = Literal["latest", "every"]
Newest = Literal["accepted", "semver"]

#: A target list is shared by all artifacts that have the same one, so an entry costs little more than its key.
_CACHED_ARTIFACTS_MAX = 65_536


class Target(msgspec.Struct, frozen=True):
    """One component that wants an artifact: each version or the latest one, and which one that is."""

    component: str
    mode: Mode = "latest"
    newest: Newest = "accepted"
    sink_type: Literal["http", "nats", "log"] = "http"


class Routing:
    """The compiled routes. `targets` is on the path of every event and is cached."""

    def __init__(self, settings: Settings) -> None:
        self.hash = settings.routing_hash
        self._rules = [
            (
                tuple(glob(pattern) for pattern in route.match.artifacts),
                tuple(Target(name, route.mode, route.newest, settings.components[name].sink.type) for name in route.to),
            )
            for route in settings.routes
        ]
        self.has_logs = any(target.sink_type == "log" for _, targets in self._rules for target in targets)
        self._shared: dict[tuple[Target, ...], tuple[Target, ...]] = {}
        self.targets = lru_cache(maxsize=_CACHED_ARTIFACTS_MAX)(self._targets)

    def target(self, artifact: str, component: str) -> Target | None:
        """How `component` wants the artifact; None if no route says that it does."""
        return next((target for target in self.targets(artifact) if target.component == component), None)

    def _targets(self, artifact: str) -> tuple[Target, ...]:
        found: dict[str, Target] = {}
        for patterns, targets in self._rules:
            if _matches(patterns, artifact):
                for target in targets:
                    found.setdefault(target.component, target)
        result = tuple(found.values())
        return self._shared.setdefault(result, result)


def _matches(patterns: Iterable[re.Pattern[str]], artifact: str) -> bool:
    return any(pattern.fullmatch(artifact) for pattern in patterns)
