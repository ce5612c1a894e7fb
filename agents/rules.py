"""The configuration, compiled for judging: who may publish what, where it goes, the limits. One object, swapped whole."""

from __future__ import annotations

import re
from functools import lru_cache

from agents.backoff import Backoff
from agents.routing import Routing
from streams.errors import NotAllowed
from streams.events import Event
from streams.settings import Pattern, Settings, glob

_DECISIONS_MAX = 65_536


class Rules:
    def __init__(self, settings: Settings) -> None:
        self.cluster = settings.cluster
        self.limits = settings.limits
        self.config_hash = settings.config_hash
        self.routing = Routing(settings)
        self.backoffs = {
            name: Backoff(component.backoff_s_min, component.backoff_s_max) for name, component in settings.components.items()
        }
        self._grants = {
            name: [(_compile(grant.types), _compile(grant.artifacts)) for grant in principal.may_publish]
            for name, principal in settings.principals.items()
        }
        self._granted = lru_cache(maxsize=_DECISIONS_MAX)(self._is_granted)

    def check_publish(self, principal: str, event: Event) -> None:
        """Deny by default. Raises NotAllowed, which names what was missing."""
        if not self._granted(principal, event.type, event.artifact.key):
            known = principal in self._grants
            raise NotAllowed(
                "publish.not_allowed" if known else "principal.unknown",
                f"{principal} may not publish {event.type} about {event.artifact.key}; an entry of may_publish would allow it",
            )

    def _is_granted(self, principal: str, event_type: str, artifact: str) -> bool:
        return any(
            _matches(types, event_type) and _matches(artifacts, artifact) for types, artifacts in self._grants.get(principal, [])
        )


def _compile(patterns: tuple[Pattern, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(glob(pattern) for pattern in patterns)


def _matches(patterns: tuple[re.Pattern[str], ...], text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in patterns)
