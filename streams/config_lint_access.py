"""What is doubtful in principals, roles and bindings: who may nothing, what nobody has, rules that can never allow anything. All warnings.

A name in a binding that stands for nothing is an error, and `settings_access.py`'s. Called by `config_lint.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from streams.artifact_identity import KINDS
from streams.config_problem import Problem, Source
from streams.config_yaml import Path
from streams.globs import overlap
from streams.settings import Principal, Rule, Settings
from streams.settings_access import holds

#: Beside the kinds: what could not be decoded is in quarantine under `unknown/<principal>`.
_UNKNOWN = "unknown"


def lint_access(settings: Settings, source: Source) -> Iterator[Problem]:
    for check in (_principals, _roles, _bindings, _selectors):
        yield from check(settings, source)


def _principals(settings: Settings, source: Source) -> Iterator[Problem]:
    for name, principal in settings.principals.items():
        path = ("principals", name)
        receives = name in settings.components and principal.speaks_nats
        if not receives and not any(holds(name, principal, binding) for binding in settings.bindings):
            mend = "name it, or one of its groups, in a binding, or remove it"
            yield source.problem(path, "no binding gives it a role, and it does not receive", mend, level="warning")
        elif not _can_prove_itself(principal):
            mend = "give it one, make a key with `syncmaster keys create`, or remove it"
            yield source.problem(path, "has no credentials here, neither for NATS nor for the gateway", mend, level="warning")


def _can_prove_itself(principal: Principal) -> bool:
    return principal.speaks_nats or bool(principal.api_keys)


def _roles(settings: Settings, source: Source) -> Iterator[Problem]:
    bound = {binding.role for binding in settings.bindings if binding.principals or binding.groups}
    for name in settings.roles.keys() - bound:
        mend = "name it in a binding, or remove it"
        yield source.problem(("roles", name), "is bound to nobody", mend, level="warning")


def _bindings(settings: Settings, source: Source) -> Iterator[Problem]:
    groups = {group for principal in settings.principals.values() for group in principal.groups}
    for index, binding in enumerate(settings.bindings):
        if not (binding.principals or binding.groups):
            mend = "give it principals or groups, or remove it"
            yield source.problem(("bindings", index), "names nobody", mend, level="warning")
        for position, group in enumerate(binding.groups):
            if group not in groups:
                path, mend = ("bindings", index, "groups", position), "add it to the principals it stands for, or remove it"
                yield source.problem(path, f"no principal is in the group {group!r}", mend, level="warning")


def _selectors(settings: Settings, source: Source) -> Iterator[Problem]:
    for path, rule in role_rules(settings):
        for field, patterns, told, mend in _never(rule):
            if patterns and all(pattern.strip("*") for pattern in patterns):
                yield source.problem((*path, field), told, mend, level="warning")
        for position, pattern in enumerate(rule.artifacts):
            if not any(overlap(pattern, f"{kind}/*") for kind in (*KINDS, _UNKNOWN)):
                mend = f"the kinds are {', '.join(f'{kind}/*' for kind in sorted(KINDS))}"
                yield source.problem((*path, "artifacts", position), "matches no kind of artifact", mend, level="warning")
        for position, pattern in enumerate(rule.components):
            if not any(overlap(pattern, name) for name in settings.components):
                known = ", ".join(sorted(settings.components)) or "none"
                mend = f"the components are {known}"
                yield source.problem((*path, "components", position), "matches no component", mend, level="warning")


def _never(rule: Rule) -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    """Selectors of what the verbs are never asked about: (field, its patterns, what is wrong, the mend)."""
    others = sorted({*rule.verbs} - {"publish"})
    if others:
        told = f"only publishing has a type, so this rule never allows {', '.join(others)}"
        yield "types", rule.types, told, "move `publish` to a rule of its own"
    if "publish" in rule.verbs:
        told = "an event is for no component in particular, so this rule never allows publish"
        yield "components", rule.components, told, "move `publish` to a rule of its own"


def role_rules(settings: Settings) -> Iterator[tuple[Path, Rule]]:
    """Every rule with its place in the file."""
    for name, role in settings.roles.items():
        for index, rule in enumerate(role.rules):
            yield ("roles", name, "rules", index), rule
