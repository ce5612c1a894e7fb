"""A hold is asked about by its pattern, as if that were an artifact's key. That is sound: whatever the pattern reaches, the rule reaches."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.authz import Authorizer, Resource
from streams.settings import Settings, glob

patterns = st.text("ab/*", min_size=1, max_size=8)


def fillings(letters: str) -> st.SearchStrategy[list[str]]:
    """What each star of a pattern stands for."""
    return st.lists(st.text(letters, max_size=3), min_size=8, max_size=8)


def filled(pattern: str, filling: list[str]) -> str:
    parts = pattern.split("*")
    return parts[0] + "".join(text + part for text, part in zip(filling, parts[1:], strict=False))


def authorizer(rule: str) -> Authorizer:
    content = {
        "cluster": "test",
        "principals": {"p": {}},
        "roles": {"role": {"rules": [{"verbs": ["hold"], "artifacts": [rule]}]}},
        "bindings": [{"name": "b", "role": "role", "principals": ["p"]}],
    }
    return Authorizer(Settings.model_validate(content))


@settings(max_examples=300, deadline=None)
@given(rule=patterns, narrower=fillings("ab/*"), named=fillings("ab/"), other=patterns)
def test_whoever_may_hold_a_pattern_may_hold_what_it_matches(
    rule: str, narrower: list[str], named: list[str], other: str
) -> None:
    """No pattern reaches an artifact that its author's rules do not, be it made from the rule or any other."""
    found, made = authorizer(rule), filled(rule, narrower)
    assert not made or found.decide("p", "hold", Resource(artifact=made)).allowed
    for pattern in (made, other):
        artifact = filled(pattern, named)
        assert glob(pattern).fullmatch(artifact)
        if artifact and found.decide("p", "hold", Resource(artifact=pattern)).allowed:
            assert found.decide("p", "hold", Resource(artifact=artifact)).allowed
