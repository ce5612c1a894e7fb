"""The configuration, compiled for judging: who may publish what, where it goes, the limits. One object, swapped whole."""

from __future__ import annotations

from functools import lru_cache

from agents.authz import Authorizer, Decision, Resource
from agents.backoff import Backoff
from agents.policies import Policies
from agents.routing import Routing
from streams.errors import NotAllowed
from streams.events import Event
from streams.settings import Settings

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
        self.authorizer = Authorizer(settings)
        self.policies = Policies(settings)
        self._principals = frozenset(settings.principals)
        self._published = lru_cache(maxsize=_DECISIONS_MAX)(self._decide_publish)

    def check_publish(self, principal: str, event: Event) -> str:
        """The rule that allows it. Denied by default: raises NotAllowed, which names what was missing."""
        decision = self._published(principal, event.type, event.artifact.key)
        if not decision.allowed:
            raise NotAllowed(
                "publish.not_allowed" if principal in self._principals else "principal.unknown",
                f"{principal} may not publish {event.type} about {event.artifact.key}; bind it to a role with a rule that allows it",
            )
        return decision.rule

    def _decide_publish(self, principal: str, event_type: str, artifact: str) -> Decision:
        return self.authorizer.decide_uncached(principal, "publish", Resource(event_type, artifact))
