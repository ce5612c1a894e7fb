"""The configuration, compiled for judging: who may publish what, where it goes, the limits. One object, swapped whole."""

from __future__ import annotations

from functools import lru_cache

from agents.authz import Authorizer, Resource
from agents.backoff import Backoff
from agents.course import Course
from agents.policies import Policies
from agents.routing import Routing
from streams.events import Event
from streams.metrics import type_label
from streams.settings import Settings

_COURSES_MAX = 65_536


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
        self.halts = {policy.name: policy.halts for policy in settings.policies if policy.halts is not None}
        self._principals = frozenset(settings.principals)
        #: (principal, event type, artifact) -> Course
        self.course = lru_cache(maxsize=_COURSES_MAX)(self._course)

    def denial(self, principal: str, event: Event) -> tuple[str, str]:
        """Code and detail for an event whose decision is no: denied by default, so what is told is what is missing."""
        code = "publish.not_allowed" if principal in self._principals else "principal.unknown"
        about = f"{event.type} about {event.artifact.key}"
        return code, f"{principal} may not publish {about}; bind it to a role with a rule that allows it"

    def _course(self, principal: str, event_type: str, artifact: str) -> Course:
        return Course(
            self.authorizer.decide_uncached(principal, "publish", Resource(event_type, artifact)),
            self.policies.select(event_type, artifact, principal),
            self.routing.targets(artifact),
            type_label(event_type),
        )
