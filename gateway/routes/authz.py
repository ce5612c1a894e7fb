"""/v1/authz: what somebody may do."""

from __future__ import annotations

from gateway.operations import authz
from gateway.questions import AuthzQuery
from gateway.registry import Call, Registry
from gateway.views import AuthzView

routes = Registry("authz")


@routes.get("/v1/authz", verbs=(), anyone=True, refusals=(404,))
async def get_authz(call: Call, query: AuthzQuery) -> AuthzView:
    """Whether a principal may do something, and the rule that decided.

    About oneself with any key, scopes included; about others with the verb `admin`. A field that is left out is asked about as a whole:
    without `artifact` the answer is whether it is allowed for every artifact.
    """
    return authz.get_authz(call.context, call.known, query)
