"""What somebody may do, and which rule says so: the answers of the engine that judges everything else."""

from __future__ import annotations

from agents.authz import Decision, Resource
from gateway.caller import Caller
from gateway.context import Context
from gateway.problems import NotFound
from gateway.questions import AuthzQuery
from gateway.views import AuthzView, DecisionView
from streams.settings_access import VERBS, Verb


def get_authz(context: Context, caller: Caller, query: AuthzQuery) -> AuthzView:
    """The decision for one verb or for each. About others only for those who have `admin`."""
    principal = query.principal or caller.name
    if principal != caller.name:
        caller.require("admin", Resource())
    if principal not in context.settings.principals:
        raise NotFound("principal.unknown", "no principal of this name is in the configuration")
    resource = Resource(query.type, query.artifact, query.component, query.environment)

    def decide(verb: Verb) -> Decision:
        if principal == caller.name:
            return caller.decide(verb, resource)
        return caller.authorizer.decide(principal, verb, resource)

    verbs = VERBS if query.verb is None else (query.verb,)
    found = {verb: decide(verb) for verb in verbs}
    items = [DecisionView(verb=verb, allowed=decision.allowed, rule=decision.rule) for verb, decision in found.items()]
    return AuthzView(
        principal=principal,
        type=query.type,
        artifact=query.artifact,
        component=query.component,
        environment=query.environment,
        items=items,
    )
