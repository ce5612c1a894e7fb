"""Who may do what: the rules of the documentation, one by one. That whole rule sets are decided as Cedar does: `property/test_authz_as_cedar.py`."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agents.authz import Authorizer, Resource, environment_of
from streams.settings import Settings
from streams.settings_access import VERBS


def authorizer(*rules: dict[str, Any], **changes: Any) -> Authorizer:
    """`p` has the rules by name, `q` by its group; `r` has none."""
    content: dict[str, Any] = {
        "cluster": "test",
        "principals": {"p": {}, "q": {"groups": ["people"]}, "r": {"groups": ["others"]}},
        "components": {"gate": {"sink": {"type": "log"}, "environment": "prod"}, "store": {"sink": {"type": "log"}}},
        "roles": {"role": {"rules": list(rules)}},
        "bindings": [{"name": "both", "role": "role", "principals": ["p"], "groups": ["people"]}],
    }
    return Authorizer(Settings.model_validate(content | changes))


def test_nothing_is_allowed_without_a_rule() -> None:
    """No rule, no principal, no verb: denied, and no rule is named."""
    found = authorizer({"verbs": ["read"]})
    denied = [
        found.decide("r", "read", Resource()),
        found.decide("nobody", "read", Resource()),
        found.decide("p", "sync", Resource()),
    ]
    assert [(decision.allowed, decision.rule) for decision in denied] == [(False, "")] * 3


@pytest.mark.parametrize("principal", ["p", "q"])
def test_a_binding_is_for_principals_and_groups(principal: str) -> None:
    """Both have the role, and the decision names binding, role and rule."""
    decision = authorizer({"verbs": ["sync"]}, {"verbs": ["read"]}).decide(principal, "read", Resource(artifact="chart/a"))
    assert (decision.allowed, decision.rule) == (True, "binding both -> role role, rule 1")


@pytest.mark.parametrize("field", ["type", "artifact", "component", "environment"])
def test_each_selector_limits(field: str) -> None:
    """A rule allows what its pattern matches, not another text, and not the whole."""
    found = authorizer({"verbs": ["read"], f"{field}s": ["a*"]})
    allowed = [found.decide("p", "read", Resource(**{field: text})).allowed for text in ("a", "ab", "b", "")]
    assert allowed == [True, True, False, False]


def test_all_selectors_must_match() -> None:
    """One of two is not enough, and two rules do not add up to one."""
    found = authorizer({"verbs": ["read"], "artifacts": ["a"], "components": ["b"]}, {"verbs": ["sync"], "artifacts": ["*"]})
    asked = [
        Resource(artifact="a", component="b"),
        Resource(artifact="a"),
        Resource(component="b"),
        Resource(artifact="a", component="c"),
    ]
    assert [found.decide("p", "read", one).allowed for one in asked] == [True, False, False, False]


@pytest.mark.parametrize("selector", [{}, {"artifacts": []}, {"artifacts": ["*"]}, {"artifacts": ["chart/*", "**"]}])
def test_a_rule_for_any_allows_the_whole(selector: dict[str, Any]) -> None:
    """No selector, or a star, is what lists and everything else without an artifact need."""
    assert authorizer({"verbs": ["read"], **selector}).decide("p", "read", Resource()).allowed


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("chart/*", "chart/", True),
        ("chart/*", "chart/team/a", True),
        ("chart/*", "xchart/a", False),
        ("*/a", "image/b/a", True),
        ("image/*/a", "image/a", False),
        ("a*a", "a", False),
        ("chart/[ab]", "chart/a", False),
        ("chart/?", "chart/a", False),
        ("chart/.*", "chart/ab", False),
        ("chart/É*", "chart/Éa", True),
        ("chart/a", "chart/\u0430", False),  # Cyrillic
        ("chart/a", "chart/a\n", False),
        ("chart/*", "chart/\n", True),
        ("chart/a", "chart/a\0", False),
        ("chart/a", "CHART/A", False),
    ],
)
def test_patterns(pattern: str, text: str, matches: bool) -> None:
    """A star is any run of characters; everything else stands for itself, whatever other languages make of it."""
    assert authorizer({"verbs": ["read"], "artifacts": [pattern]}).decide("p", "read", Resource(artifact=text)).allowed is matches


@pytest.mark.parametrize(
    ("artifact", "component", "environment"),
    [
        ("environment/prod", "", "prod"),
        ("environment/prod/eu", "", "prod"),
        ("environment/dev", "gate", "dev"),  # the artifact's own comes first
        ("chart/a", "gate", "prod"),
        ("chart/a", "store", ""),
        ("chart/environment/prod", "", ""),
        ("environment", "", ""),
    ],
)
def test_environment_of_a_resource(artifact: str, component: str, environment: str) -> None:
    """The artifact's own, else the component's; what is in none is not in the one that a rule names."""
    found = authorizer({"verbs": ["hold"], "environments": ["prod"]})
    assert found.decide("p", "hold", Resource(artifact=artifact, component=component)).allowed is (environment == "prod")
    assert environment_of(artifact) in (environment, "")


def test_what_is_the_same_is_decided_once() -> None:
    """The cache answers for the same principal, verb and resource only, and holds so many."""
    found = authorizer({"verbs": list(VERBS), "artifacts": ["chart/a"]})
    asked = [("p", "read", "chart/a"), ("p", "read", "chart/b"), ("r", "read", "chart/a"), ("p", "sync", "chart/a")]
    for _ in range(2):
        decisions = [found.decide(who, verb, Resource(artifact=artifact)).allowed for who, verb, artifact in asked]  # type: ignore[arg-type]
        assert decisions == [True, False, False, True]
    assert found._cached.cache_info()[:2] == (4, 4)
    assert found._cached.cache_info().maxsize == 65_536


def test_no_pattern_explodes() -> None:
    """The worst pattern that a configuration can hold is answered at once against the longest key."""
    found = authorizer({"verbs": ["read"], "artifacts": ["chart/" + "*a" * 252 + "b"]})
    began = time.perf_counter()
    assert not found.decide("p", "read", Resource(artifact="chart/" + "a" * 1000)).allowed
    assert time.perf_counter() - began < 0.1
