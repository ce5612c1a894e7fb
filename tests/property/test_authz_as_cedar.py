"""Differential: for generated roles, bindings and requests, our decision is the one that Cedar makes of the same rules."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.authz import Authorizer, Resource
from benchmarks.peers.authz_cedar import Asked, Cedar
from streams.settings import Settings
from streams.settings_access import VERBS

PRINCIPALS = ("p1", "p2", "stranger")
GROUPS = ("g1", "g2")
COMPONENTS = {"a": "", "b": "ab", "ab": "a"}
#: Few letters, so that patterns and texts often meet; among them some that a pattern language could take for its own.
_LETTERS = "ab/.?[é"

texts = st.one_of(st.just(""), st.text(_LETTERS, max_size=4), st.sampled_from(["chart/a", "environment/ab", "environment/a/b"]))
environments = st.one_of(st.just([]), st.just([]), st.lists(st.sampled_from(["a", "a*", "ab", "a/b"]), min_size=1, max_size=2))
patterns = st.one_of(
    st.just("*"), st.text(_LETTERS + "**", min_size=1, max_size=4), st.sampled_from(["chart/*", "environment/*", "*/a*", "*a*b*"])
)
selectors = st.one_of(st.just([]), st.just([]), st.lists(patterns, min_size=1, max_size=3))
verbs = st.sampled_from(VERBS[:2])
rules = st.fixed_dictionaries(
    {
        "verbs": st.lists(verbs, min_size=1, max_size=2),
        "types": selectors,
        "artifacts": selectors,
        "components": selectors,
        "environments": environments,
    }
)
roles = st.dictionaries(
    st.sampled_from(["r1", "r2", "r3"]), st.fixed_dictionaries({"rules": st.lists(rules, min_size=1, max_size=4)})
)


@st.composite
def configurations(draw: Any) -> Settings:
    content: dict[str, Any] = {"cluster": "test", "roles": draw(roles.filter(bool))}
    content["principals"] = {name: {"groups": draw(st.lists(st.sampled_from(GROUPS), unique=True))} for name in PRINCIPALS[:2]}
    content["components"] = {name: {"sink": {"type": "log"}, "environment": env or None} for name, env in COMPONENTS.items()}
    content["bindings"] = [
        {
            "name": f"b{number}",
            "role": draw(st.sampled_from(sorted(content["roles"]))),
            "principals": draw(st.lists(st.sampled_from(PRINCIPALS[:2]), unique=True)),
            "groups": draw(st.lists(st.sampled_from(GROUPS), unique=True)),
        }
        for number in range(draw(st.integers(1, 4)))
    ]
    return Settings.model_validate(content)


resources = st.builds(
    Resource,
    type=texts,
    artifact=texts,
    component=st.sampled_from(["", "c", *COMPONENTS]),
    environment=st.sampled_from(["", "", "ab"]),
)
requests = st.lists(st.tuples(st.sampled_from(PRINCIPALS), verbs, resources), min_size=10, max_size=20)


def asked(principal: str, verb: str, resource: Resource) -> Asked:
    """The request with the environment that the documentation says it has."""
    kind, *name = resource.artifact.split("/")
    own = name[0] if kind == "environment" and name else ""
    environment = resource.environment or own or COMPONENTS.get(resource.component, "")
    return principal, verb, resource.type, resource.artifact, resource.component, environment


def test_decisions_are_cedars() -> None:
    """Every decision is Cedar's, and the rule that we name is one of those that Cedar's decision rests on."""
    found: Counter[bool] = Counter()

    @settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(configuration=configurations(), wanted=requests)
    def run(configuration: Settings, wanted: list[tuple[str, Any, Resource]]) -> None:
        ours, cedar = Authorizer(configuration), Cedar(configuration)
        for one, (allowed, reasons) in zip(wanted, cedar.decide_all([asked(*one) for one in wanted]), strict=True):
            decision = ours.decide(*one)
            assert decision.allowed == allowed, (one, decision)
            assert decision.rule in reasons if allowed else decision.rule == ""
            found[allowed] += 1

    run()
    share = found[True] / found.total()
    assert found.total() > 2000
    assert 0.2 < share < 0.85, found
