"""Somebody known, and what they may do: the engine's decision, narrowed by the scopes of the key that was given. Who it is: `auth.py`."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import asdict

from agents.authz import Authorizer, Decision, Resource
from gateway.problems import Problem
from streams.settings import Verb

_OUT_OF_SCOPE = Decision(False, "the key's scopes")


@dataclass(frozen=True)
class Caller:
    """Somebody known, and what the configuration lets them do. `scopes` are the verbs of the key that was given; () is all of them."""

    name: str
    authorizer: Authorizer
    scopes: tuple[Verb, ...] = ()
    key_id: str = ""

    def may(self, verb: Verb, resource: Resource) -> bool:
        return self.decide(verb, resource).allowed

    def decide(self, verb: Verb, resource: Resource) -> Decision:
        """The engine's decision; a verb that is not the key's is denied, and that is told as the rule."""
        return self.authorizer.decide(self.name, verb, resource) if self._in_scope(verb) else _OUT_OF_SCOPE

    def may_some(self, verb: Verb) -> bool:
        """Whether there is anything to which they may do so."""
        return self._in_scope(verb) and self.authorizer.may_some(self.name, verb)

    def require(self, verb: Verb, resource: Resource) -> str:
        """The rule that allows it. Raises Problem 403, which names what is missing."""
        decision = self.decide(verb, resource)
        if not decision.allowed:
            raise self.denied((verb,), resource)
        return decision.rule

    def denied(self, verbs: tuple[Verb, ...], resource: Resource | None) -> Problem:
        """What was missing: a key for one of the verbs, or a rule, for this resource or (None) for anything at all."""
        need = " or ".join(f"`{verb}`" for verb in verbs)
        if not any(map(self._in_scope, verbs)):
            detail = f"this key of {self.name!r} is not for {need}; use another, or make one with that scope"
            return Problem(403, "auth.scope", detail, verbs=list(verbs))
        named = {} if resource is None else {field: text for field, text in asdict(resource).items() if text}
        on = ", ".join(f"{field} {text}" for field, text in named.items()) or ("anything" if resource is None else "everything")
        detail = f"principal {self.name!r} needs a rule that allows {need} on {on}; see roles and bindings in the configuration"
        return Problem(403, "auth.denied", detail, verbs=list(verbs), resource=named)

    def _in_scope(self, verb: Verb) -> bool:
        return not self.scopes or verb in self.scopes
