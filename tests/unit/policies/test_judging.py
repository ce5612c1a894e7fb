"""Which policies an event is judged by, and which answer counts."""

from __future__ import annotations

import time
from typing import Any, get_args

import pytest

from agents.policies import Judgement, Policies, Verdict
from agents.policies.base import Case, Check, Finding
from agents.policies.registry import KINDS
from streams.metrics import POLICY_FAILURES
from streams.settings_policies import AnyPolicy, DigestRequired, Policy
from tests.policy_cases import case, judged, settings_of

SMALL = {"kind": "size_limit", "bytes_max": 1}  # every event breaks it
LARGE = {"kind": "size_limit", "bytes_max": 100_000}  # none does


def small(action: str = "refuse", name: str = "small", **selectors: Any) -> dict[str, Any]:
    return SMALL | {"name": name, "action": action} | selectors


def test_every_kind_of_the_settings_has_its_function() -> None:
    """The registry has exactly the kinds that a configuration may name."""
    assert set(KINDS) == set(get_args(get_args(Policy)[0]))


def test_an_event_that_keeps_every_policy_is_fine() -> None:
    """No verdict and no alerts."""
    assert judged(case(), LARGE | {"name": "large"}) == Judgement(None, ())


@pytest.mark.parametrize("action", ["refuse", "quarantine", "halt"])
def test_a_verdict_has_the_policys_action_and_name(action: str) -> None:
    """What breaks a policy gets its action, its name as rule, and a code and detail for people."""
    verdict, alerts = judged(case(), small(action))
    assert verdict == Verdict(action, "small", "size.exceeded", "found 11 bytes; expected at most 1")  # type: ignore[arg-type]
    assert alerts == ()


def test_the_gravest_action_wins() -> None:
    """halt before quarantine before refuse, in whichever order they are declared."""
    order = ["refuse", "halt", "quarantine", "refuse"]
    found = [
        judged(case(), *(small(action, f"p{n}") for n, action in enumerate(order[start:]))).verdict for start in range(len(order))
    ]
    assert [verdict.action for verdict in found if verdict] == ["halt", "halt", "quarantine", "refuse"]


def test_of_two_alike_the_first_decides() -> None:
    """The order of the configuration says which policy is named."""
    verdict, _ = judged(case(), small(name="first"), small(name="second"))
    assert verdict is not None
    assert verdict.rule == "first"


def test_alerts_are_collected_beside_the_verdict() -> None:
    """Every broken policy with action alert is told, also when another one refuses."""
    verdict, alerts = judged(case(), small("alert", "a"), small("refuse", "r"), small("alert", "b"))
    assert verdict is not None
    assert verdict.rule == "r"
    assert [alert.rule for alert in alerts] == ["a", "b"]


def test_alerts_alone_let_an_event_pass() -> None:
    """An alert is no verdict."""
    assert judged(case(), small("alert")).verdict is None


@pytest.mark.parametrize(
    ("selector", "patterns", "applies"),
    [
        ("types", ["dev.cdevents.artifact.*"], True),
        ("types", ["harbor.*"], False),
        ("artifacts", ["image/*", "chart/argo-*"], True),
        ("artifacts", ["chart/argo"], False),
        ("principals", ["c24"], True),
        ("principals", ["c2"], False),
        ("environments", ["*"], True),
        ("environments", ["prod"], False),
        ("types", [], True),
    ],
)
def test_a_policy_judges_what_its_selectors_match(selector: str, patterns: list[str], applies: bool) -> None:
    """Patterns as everywhere; an empty selector matches anything, an artifact outside of environments only `*`."""
    assert (judged(case(), small(**{selector: patterns})).verdict is not None) == applies


def test_all_selectors_have_to_match() -> None:
    """One selector that does not match is enough to leave an event alone."""
    both = {"artifacts": ["chart/*"], "principals": ["c4"]}
    assert judged(case(), small(**both)).verdict is None
    assert judged(case(principal="c4"), small(**both)).verdict is not None


def test_an_environment_is_selected_by_its_name() -> None:
    """`environment/prod` is in prod, and so is what is below it."""
    policy = small(environments=["prod"])
    found = {
        key: judged(case(key), policy).verdict is not None
        for key in ("environment/prod", "environment/prod/eu", "environment/test")
    }
    assert found == {"environment/prod": True, "environment/prod/eu": True, "environment/test": False}


def test_selectors_are_resolved_once() -> None:
    """The second event of an artifact costs a look-up; how many artifacts are remembered is bounded."""
    policies = Policies(settings_of(small()))
    for _ in range(3):
        policies.judge(case())
    info = policies._applying.cache_info()
    assert (info.misses, info.hits) == (1, 2)
    assert info.maxsize is not None


def test_a_waived_policy_is_not_asked() -> None:
    """A release from quarantine waives the policy that parked the event, and no other."""
    policies = Policies(settings_of(small("quarantine", "parks"), small("refuse", "refuses")))
    verdict, _ = policies.judge(case(), waived=["parks"])
    assert verdict is not None
    assert verdict.rule == "refuses"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> BaseException:
    error = RuntimeError("broken")

    def make(_: AnyPolicy) -> Check:
        def check(_: Case) -> Finding | None:
            raise error

        return check

    monkeypatch.setitem(KINDS, DigestRequired, make)
    return error


@pytest.mark.parametrize("action", ["alert", "refuse", "quarantine", "halt"])
def test_a_policy_that_raises_refuses(failing: BaseException, action: str) -> None:
    """Whatever its action, with the code policy.failed and its name, and it is counted."""
    before = POLICY_FAILURES.labels("digests")._value.get()
    verdict, alerts = judged(case(), {"name": "digests", "kind": "digest_required", "action": action})
    assert verdict is not None
    assert (verdict.action, verdict.rule, verdict.code) == ("refuse", "digests", "policy.failed")
    assert "RuntimeError" in verdict.detail
    assert alerts == ()
    assert POLICY_FAILURES.labels("digests")._value.get() == before + 1


def test_a_graver_policy_is_heard_beside_one_that_raises(failing: BaseException) -> None:
    """A failure does not keep a quarantine from being decided."""
    verdict, _ = judged(case(), {"name": "digests", "kind": "digest_required"}, small("quarantine"))
    assert verdict is not None
    assert verdict.rule == "small"


def test_failures_are_logged_at_a_bounded_rate(failing: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand failing events do not write a thousand lines."""
    policies = Policies(settings_of({"name": "logged", "kind": "digest_required"}))
    for _ in range(1000):
        policies.judge(case())
    assert capsys.readouterr().out.count("a policy failed") <= 1


class Panic(BaseException):
    """As pyo3's PanicException: no Exception."""


def test_a_panic_of_a_library_refuses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event stops its partition, not even one that finds a fault in a library written in Rust."""

    def make(_: AnyPolicy) -> Check:
        def check(_: Case) -> Finding | None:
            raise Panic

        return check

    monkeypatch.setitem(KINDS, DigestRequired, make)
    verdict, _ = judged(case(), {"name": "digests", "kind": "digest_required"})
    assert verdict is not None
    assert verdict.code == "policy.failed"


def test_patterns_do_not_explode() -> None:
    """Twenty stars against a hundred thousand letters cost what reading them costs."""
    policy = small(artifacts=["*a" * 20 + "*b"])
    long = case("chart/" + "a" * 100_000)
    policies, begin = Policies(settings_of(policy)), time.process_time()
    assert policies.judge(long).verdict is None
    assert time.process_time() - begin < 0.5
