"""Who may do what, as Kubernetes' RBAC has it: roles hold rules, bindings give roles to principals and groups. Deciding: `agents/authz.py`.

What no rule allows is denied. There are no rules that deny, so their order means nothing but which of them is named as the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field, StringConstraints
from pydantic_core import PydanticCustomError

from streams.settings_base import Model, Name, Pattern, SecretRef, wrong
from streams.settings_nats import NKey

Verb = Literal["publish", "read", "sync", "hold", "pause", "halt", "release", "quarantine", "audit", "admin"]
VERBS: tuple[Verb, ...] = get_args(Verb)


class Rule(Model):
    """Any of `verbs` on what all four selectors match. An empty selector matches anything, `*` too; any other pattern only what is named."""

    verbs: tuple[Verb, ...] = Field(min_length=1)
    #: Event types; only publishing has one.
    types: tuple[Pattern, ...] = ()
    artifacts: tuple[Pattern, ...] = ()
    components: tuple[Pattern, ...] = ()
    environments: tuple[Pattern, ...] = ()


class Role(Model):
    """What somebody may do: anything that one of the rules allows."""

    description: str = ""
    rules: tuple[Rule, ...] = Field(min_length=1)


class Binding(Model):
    """Gives `role` to principals, and to whoever is in one of the groups."""

    name: Name
    role: Name
    principals: tuple[Name, ...] = ()
    groups: tuple[Name, ...] = ()


class Principal(Model):
    """Somebody who acts: a component that publishes, or a person. NATS user `<name>` may publish under `sm.in.<name>.>` only."""

    description: str = ""
    #: Bindings may name a group instead of each of its principals.
    groups: tuple[Name, ...] = ()
    nats_password: SecretRef | None = None
    #: Public nkeys (`U…`), beside or instead of the password. Several, so that they can be rotated without downtime.
    nats_nkeys: tuple[NKey, ...] = ()
    #: Subjects (`CN=c4,O=Orbit`, as RFC 2253 writes them) or DNS names, e-mail addresses, URIs of certificates that are this
    #: principal's. As soon as anybody has one the server maps certificates to users, and looks at no password any more.
    nats_certificates: tuple[Annotated[str, StringConstraints(pattern=r"^[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,511}$")], ...] = ()
    #: Keys for the gateway, `Authorization: Bearer …`. Several, so that they can be rotated without downtime.
    api_keys: tuple[SecretRef, ...] = ()
    #: False for publishers that speak core NATS (zot): a full stream drops their messages and they are not told.
    acknowledged: bool = True

    @property
    def speaks_nats(self) -> bool:
        return self.nats_password is not None or bool(self.nats_nkeys or self.nats_certificates)


class Grant(NamedTuple):
    """One rule of one binding, with the name by which decisions tell it."""

    name: str
    binding: Binding
    rule: Rule


def grants(roles: Mapping[str, Role], bindings: tuple[Binding, ...]) -> Iterator[Grant]:
    """Every rule that somebody has, in the order of the bindings."""
    for binding in bindings:
        for index, rule in enumerate(roles[binding.role].rules):
            yield Grant(f"binding {binding.name} -> role {binding.role}, rule {index}", binding, rule)


def holds(name: str, principal: Principal, binding: Binding) -> bool:
    """Whether the binding is about this principal."""
    return name in binding.principals or not set(binding.groups).isdisjoint(principal.groups)


def unresolved(
    roles: Mapping[str, Role], bindings: tuple[Binding, ...], principals: Mapping[str, Principal]
) -> PydanticCustomError | None:
    """The first name in a binding that stands for nothing. Groups may be empty: `check` warns of those."""
    names = [binding.name for binding in bindings]
    for index, binding in enumerate(bindings):
        at = ("bindings", index)
        if binding.name in names[:index]:
            return wrong((*at, "name"), f"another binding is called {binding.name!r}", "give each its own name")
        if binding.role not in roles:
            return wrong(
                (*at, "role"), f"there is no role {binding.role!r}", f"declare it, or name one of these: {_known(roles)}"
            )
        for position, name in enumerate(binding.principals):
            if name not in principals:
                mend = f"declare it, or name one of these: {_known(principals)}"
                return wrong((*at, "principals", position), f"there is no principal {name!r}", mend)
    return None


def _known(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
