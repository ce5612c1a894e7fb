"""Who may do what: a principal, a verb and a resource become a decision, with the rule that made it. Roles and bindings: `settings_access.py`.

Events, HTTP calls and commands are all judged here. The rules of all bindings are numbered, and each is one bit: those that a principal
has for a verb are a mask, and so are those whose types, artifacts, components and environments select a text. A decision is the
intersection of five masks; its lowest bit names the rule. So it costs about the same with two rules and with two hundred.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec

from streams.settings import Pattern, Settings, Verb, glob
from streams.settings_access import grants, holds

_DECISIONS_MAX = 65_536


class Resource(msgspec.Struct, frozen=True, gc=False):
    """What something is done to. An empty field means all of them, or none in particular: only a rule for any allows that.

    The environment need not be given: it is the artifact's own (`environment/prod`), else that of the component.
    """

    type: str = ""
    artifact: str = ""
    component: str = ""
    environment: str = ""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """`rule` is e.g. "binding chart-publishers -> role chart-publisher, rule 0", and empty where no rule allowed it."""

    allowed: bool
    rule: str


_DENIED = Decision(False, "")

#: Whether somebody known may do something particular, e.g. read, to a resource.
May = Callable[[Resource], bool]


class Authorizer:
    """The roles and bindings of a configuration, compiled. What no rule allows is denied; an unknown principal has no rules."""

    def __init__(self, settings: Settings) -> None:
        found = list(grants(settings.roles, settings.bindings))
        self._decisions = [Decision(True, grant.name) for grant in found]
        self._types = Selectors(grant.rule.types for grant in found)
        self._artifacts = Selectors(grant.rule.artifacts for grant in found)
        self._components = Selectors(grant.rule.components for grant in found)
        self._environments = Selectors(grant.rule.environments for grant in found)
        self._environment_of = {name: c.environment or "" for name, c in settings.components.items()}
        self._held: dict[str, dict[str, int]] = {}
        for name, principal in settings.principals.items():
            held: defaultdict[str, int] = defaultdict(int)
            for number, grant in enumerate(found):
                for verb in grant.rule.verbs if holds(name, principal, grant.binding) else ():
                    held[verb] |= 1 << number
            self._held[name] = dict(held)
        self._cached = lru_cache(maxsize=_DECISIONS_MAX)(self.decide_uncached)

    def decide(self, principal: str, verb: Verb, resource: Resource) -> Decision:
        return self._cached(principal, verb, resource)

    def decide_uncached(self, principal: str, verb: Verb, resource: Resource) -> Decision:
        """The same; for callers that keep decisions themselves."""
        held = self._held.get(principal)
        left = held.get(verb, 0) if held else 0
        if left & self._artifacts.limited:
            left = self._artifacts.select(resource.artifact, left)
        if left & self._types.limited:
            left = self._types.select(resource.type, left)
        if left & self._components.limited:
            left = self._components.select(resource.component, left)
        if left & self._environments.limited:
            left = self._environments.select(self._environment(resource), left)
        return self._decisions[(left & -left).bit_length() - 1] if left else _DENIED

    def may_some(self, principal: str, verb: Verb) -> bool:
        """Whether there is anything that this principal may do so: a list is then what remains of it."""
        return bool(self._held.get(principal, {}).get(verb))

    def _environment(self, resource: Resource) -> str:
        return resource.environment or environment_of(resource.artifact) or self._environment_of.get(resource.component, "")


class Selectors:
    """Which of many rules select a text, one bit for each. Most patterns are a text, or a beginning and a star: those are looked up.

    `limited` are the rules that do not select every text.
    """

    def __init__(self, per_rule: Iterable[tuple[Pattern, ...]]) -> None:
        self.limited = 0
        exact: defaultdict[str, int] = defaultdict(int)
        begins: defaultdict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        globs: defaultdict[str, _Globs] = defaultdict(_Globs)
        for number, patterns in enumerate(per_rule):
            if not patterns or not all(pattern.strip("*") for pattern in patterns):
                continue
            self.limited |= 1 << number
            for pattern in patterns:
                begin, star, rest = pattern.partition("*")
                if not star:
                    exact[begin] |= 1 << number
                elif rest.strip("*"):
                    globs[begin].add(pattern, 1 << number)
                else:
                    begins[len(begin)][begin] |= 1 << number
        self._exact = dict(exact)
        self._begins = [(slice(length), dict(found)) for length, found in begins.items()]
        self._globs = list(globs.items())

    def select(self, text: str, among: int) -> int:
        """Those of the rules `among` that select it."""
        found = ~self.limited
        if not text:
            return found & among
        if text in self._exact:
            found |= self._exact[text]
        for beginning, begins in self._begins:
            if (begin := text[beginning]) in begins:
                found |= begins[begin]
        for begin, globs in self._globs:
            if globs.bits & among and text.startswith(begin):
                found |= globs.select(text, globs.bits & among)
        return found & among


class _Globs:
    """Patterns with the same beginning, and more behind a star: each has to be tried, but only where the longest part of it is found."""

    def __init__(self) -> None:
        self.bits = 0
        self._of_rule: defaultdict[int, list[tuple[str, Callable[[str], object]]]] = defaultdict(list)

    def add(self, pattern: Pattern, bit: int) -> None:
        self.bits |= bit
        longest = max(pattern.split("*"), key=len)
        self._of_rule[bit].append((longest, glob(pattern).fullmatch))

    def select(self, text: str, left: int) -> int:
        found = 0
        while left:
            bit = left & -left
            left ^= bit
            for longest, matches in self._of_rule[bit]:
                if longest in text and matches(text):
                    found |= bit
                    break
        return found


def environment_of(artifact: str) -> str:
    """`prod` of `environment/prod` and `environment/prod/eu`; of other kinds none."""
    kind, _, name = artifact.partition("/")
    return name.partition("/")[0] if kind == "environment" else ""
