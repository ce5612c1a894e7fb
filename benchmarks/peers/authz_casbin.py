"""The same roles and bindings for casbin: one policy per rule, subject and combination of patterns; groups are its roles, globs a function."""

from __future__ import annotations

from itertools import product

import casbin

from benchmarks.peers.authz_cedar import Asked
from streams.settings import Settings, glob
from streams.settings_access import grants

_MODEL = """
[request_definition]
r = sub, verb, type, artifact, component, environment
[policy_definition]
p = sub, verb, type, artifact, component, environment
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.verb == p.verb && g(r.sub, p.sub) && glob(r.artifact, p.artifact) && glob(r.type, p.type) && \
glob(r.component, p.component) && glob(r.environment, p.environment)
"""


class Casbin:
    def __init__(self, settings: Settings) -> None:
        model = casbin.Enforcer.new_model(text=_MODEL)
        self._enforcer = casbin.Enforcer(model)
        compiled = {"*": glob("*")}

        def matches(text: str, pattern: str) -> bool:
            found = compiled.get(pattern)
            if found is None:
                found = compiled[pattern] = glob(pattern)
            return found.fullmatch(text) is not None

        self._enforcer.add_function("glob", matches)
        self._enforcer.add_policies([list(policy) for policy in dict.fromkeys(_policies(settings))])
        for name, principal in settings.principals.items():
            for group in principal.groups:
                self._enforcer.add_grouping_policy(name, f"group:{group}")

    def decide(self, asked: Asked) -> bool:
        return bool(self._enforcer.enforce(*asked))


def _policies(settings: Settings) -> list[tuple[str, ...]]:
    any_ = ("*",)
    return [
        combination
        for grant in grants(settings.roles, settings.bindings)
        for combination in product(
            [*grant.binding.principals, *(f"group:{group}" for group in grant.binding.groups)],
            grant.rule.verbs,
            grant.rule.types or any_,
            grant.rule.artifacts or any_,
            grant.rule.components or any_,
            grant.rule.environments or any_,
        )
    ]
