"""Token buckets over the door's timestamps."""

from __future__ import annotations

from typing import Any

from streams.rate_limits import Bucket, RateLimits, limits_of
from streams.settings_policies import RateLimit
from tests.policy_cases import settings_of

SECOND_NS = 1_000_000_000
NOW_NS = 1_795_000_000 * SECOND_NS


def limit(events_per_s: float = 10, burst_events: int = 5, name: str = "it", **keys: Any) -> RateLimit:
    return RateLimit(name=name, kind="rate_limit", events_per_s=events_per_s, burst_events=burst_events, **keys)


def taken(limits: RateLimits, events: int, now_ns: int, step_ns: int = 0) -> int:
    return sum(not limits.over(now_ns + n * step_ns) for n in range(events))


def test_a_burst_passes_at_once_and_no_more() -> None:
    """A new bucket is full."""
    assert taken(RateLimits((limit(),)), 20, NOW_NS) == 5


def test_the_bucket_fills_at_the_rate() -> None:
    """Ten events a second on the average: after half a second there is room for five more."""
    limits = RateLimits((limit(),))
    taken(limits, 5, NOW_NS)
    assert taken(limits, 20, NOW_NS + SECOND_NS // 2) == 5


def test_the_bucket_holds_no_more_than_its_burst() -> None:
    """A day of silence saves up nothing beyond it."""
    limits = RateLimits((limit(),))
    taken(limits, 5, NOW_NS)
    assert taken(limits, 20, NOW_NS + 86_400 * SECOND_NS) == 5


def test_what_is_over_costs_nothing() -> None:
    """Who sends twice as much as allowed gets what is allowed, not less."""
    assert abs(taken(RateLimits((limit(),)), 2000, NOW_NS, SECOND_NS // 20) - 1005) <= 1


def test_the_names_of_all_limits_that_are_exceeded_are_told() -> None:
    """Divided by commas; a limit that is not exceeded goes on counting."""
    limits = RateLimits((limit(burst_events=1, name="a"), limit(burst_events=2, name="b"), limit(burst_events=2, name="c")))
    assert [limits.over(NOW_NS) for _ in range(3)] == ["", "a", "a,b,c"]


def test_who_goes_on_from_the_remembered_state_decides_alike() -> None:
    """Cut anywhere, the sequence of decisions is the same."""
    policies = (limit(), limit(3, 8, name="slow"))
    times = [NOW_NS + n * 37_000_000 for n in range(200)]
    whole = RateLimits(policies)
    decisions = [whole.over(ns) for ns in times]
    for cut in (0, 1, 57, 199):
        first = RateLimits(policies)
        before = [first.over(ns) for ns in times[:cut]]
        second = RateLimits(policies, first.full_ns)
        assert before + [second.over(ns) for ns in times[cut:]] == decisions


def test_a_clock_set_back_does_not_close_the_door_until_it_has_caught_up() -> None:
    """The bucket is found empty, and fills at its rate by the new clock."""
    limits = RateLimits((limit(),))
    taken(limits, 5, NOW_NS)
    earlier = NOW_NS - 3600 * SECOND_NS
    assert taken(limits, 5, earlier) == 0
    assert taken(limits, 20, earlier + SECOND_NS // 2) == 5


def test_a_batch_is_admitted_whole_or_not_at_all() -> None:
    """The gateway counts nothing of what it turns away, and tells how long to wait."""
    limits = RateLimits((limit(),))
    assert limits.admit(NOW_NS, 3) == ("", 0.0)
    name, wait_s = limits.admit(NOW_NS, 3)
    assert name == "it"
    assert 0.09 < wait_s <= 0.1
    assert limits.admit(NOW_NS, 2) == ("", 0.0)


def test_waiting_as_long_as_told_is_enough() -> None:
    """And a little less is not."""
    bucket = Bucket(limit())
    bucket.take(NOW_NS, 5)
    wait_ns = bucket.wait_ns(NOW_NS, 2)
    assert bucket.wait_ns(NOW_NS + wait_ns, 2) == 0
    assert bucket.wait_ns(NOW_NS + wait_ns - 1, 2) == 1


def test_a_principal_has_the_limits_that_select_it() -> None:
    """Each principal has buckets of its own; without selectors a limit counts for all."""
    shape = {"kind": "rate_limit", "events_per_s": 1, "burst_events": 1}
    settings = settings_of(
        shape | {"name": "all"}, shape | {"name": "c4", "principals": ["c4-*"]}, {"name": "other", "kind": "digest_required"}
    )
    assert [found.name for found in limits_of(settings, "c4-image-build")] == ["all", "c4"]
    assert [found.name for found in limits_of(settings, "c24")] == ["all"]
