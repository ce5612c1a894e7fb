"""Each kind of policy against a plain statement of what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from fnmatch import fnmatchcase
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import semver
from hypothesis import given
from hypothesis import strategies as st

from streams.events import Action
from streams.rate_limits import RateLimits
from streams.settings_policies import RateLimit
from tests.policy_cases import DIGEST, OTHER_DIGEST, case, check_of, code_of, judged

SECOND_NS = 1_000_000_000
START_NS = 1_795_000_000 * SECOND_NS

# -- judging -----------------------------------------------------------------------------------------------------------------------

_TEXT = st.text("ab/*", min_size=1, max_size=6)
_SELECTORS = st.fixed_dictionaries(
    {}, optional={name: st.lists(_TEXT, max_size=2) for name in ("artifacts", "principals", "types")}
)
_POLICIES = st.lists(st.tuples(st.sampled_from(["alert", "refuse", "quarantine", "halt"]), st.booleans(), _SELECTORS), max_size=6)


@given(
    _POLICIES,
    st.text("ab/", min_size=1, max_size=6),
    st.text("ab", min_size=1, max_size=3),
    st.text("ab", min_size=1, max_size=3),
)
def test_the_gravest_of_those_that_apply_decides(policies: list[Any], key: str, principal: str, event_type: str) -> None:
    """Selectors, broken or kept, action and order: the verdict is what reading the list from its gravest end gives; the alerts are all."""
    texts = {"artifacts": key, "principals": principal, "types": event_type}
    declared, broken = [], []
    for number, (action, breaks, selectors) in enumerate(policies):
        name = f"p{number}"
        declared.append({"name": name, "kind": "size_limit", "bytes_max": 1 if breaks else 999, "action": action} | selectors)
        if breaks and all(any(fnmatchcase(texts[what], p) for p in found) for what, found in selectors.items() if found):
            broken.append((action, name))
    found = judged(case(key, principal=principal, type=event_type), *declared)
    gravest = [pair for action in ("halt", "quarantine", "refuse") for pair in broken if pair[0] == action]
    assert (None if found.verdict is None else (found.verdict.action, found.verdict.rule)) == (gravest[0] if gravest else None)
    assert [(alert.action, alert.rule) for alert in found.alerts] == [pair for pair in broken if pair[0] == "alert"]


# -- allow_deny --------------------------------------------------------------------------------------------------------------------

_LISTS = st.lists(st.text("ab*", min_size=1, max_size=4), max_size=3)


@given(_LISTS, _LISTS, st.text("ab", min_size=1, max_size=5))
def test_deny_wins_and_an_empty_allow_allows(allow: list[str], deny: list[str], source: str) -> None:
    """For any two lists of patterns."""
    if not (allow or deny):
        return
    code = code_of(check_of("allow_deny", sources={"allow": allow, "deny": deny})(case(source=source)))
    if any(fnmatchcase(source, pattern) for pattern in deny):
        assert code == "source.denied"
    else:
        assert (code is None) == (not allow or any(fnmatchcase(source, pattern) for pattern in allow))


# -- version_forward ---------------------------------------------------------------------------------------------------------------

_NUMBERS = st.integers(0, 12)
_VERSIONS = st.builds(
    "{}.{}.{}{}{}".format,
    _NUMBERS,
    _NUMBERS,
    _NUMBERS,
    st.sampled_from(["", "-rc.1", "-rc.10", "-a", "-1"]),
    st.sampled_from(["", "+b1"]),
)


@given(_VERSIONS, _VERSIONS)
def test_versions_go_forward_as_semver_says(newest: str, version: str) -> None:
    """The library `semver` agrees on every pair."""
    back = semver.Version.parse(version).compare(newest) < 0
    assert code_of(check_of("version_forward")(case(version=version, newest=newest))) == ("version.back" if back else None)


# -- digests -----------------------------------------------------------------------------------------------------------------------

_DIGESTS = st.sampled_from([None, DIGEST, OTHER_DIGEST])


@given(_DIGESTS, _DIGESTS, st.sampled_from(list(Action)))
def test_a_known_digest_is_repeated_or_left_out_by_what_only_adds(known: str | None, told: str | None, action: Action) -> None:
    """Over all combinations of known, told and action."""
    kept = known is None or told == known or (told is None and action in {Action.SIGNED, Action.DELETED})
    assert (check_of("digest_immutable")(case(digest=told, known_digest=known, action=action)) is None) == kept


@given(st.one_of(st.none(), st.text("sha256:f0A", max_size=80), st.from_regex(r"sha256:[0-9a-f]{63,65}", fullmatch=True)))
def test_only_a_well_formed_digest_is_one(digest: str | None) -> None:
    """As the expression of the specification reads."""
    good = digest is not None and re.fullmatch("sha256:[0-9a-f]{64}", digest) is not None
    assert (check_of("digest_required")(case(digest=digest)) is None) == good


# -- rate limits -------------------------------------------------------------------------------------------------------------------

_STEPS = st.lists(st.one_of(st.just(0), st.integers(0, 3 * SECOND_NS), st.integers(0, SECOND_NS // 50)), min_size=1, max_size=80)
_limit = partial(RateLimit, name="it", kind="rate_limit")


@given(_STEPS, st.sampled_from([0.3, 1, 7, 100]), st.integers(1, 9), st.integers(0, 80))
def test_no_span_holds_more_than_burst_and_rate(steps: list[int], rate: float, burst: int, cut: int) -> None:
    """Between any two events that were let in: at most the burst and what the rate gives meanwhile; going on from a remembered state,
    wherever it was cut, changes nothing."""
    policy = (_limit(events_per_s=rate, burst_events=burst),)
    times = [START_NS + sum(steps[: number + 1]) for number in range(len(steps))]
    limits, resumed, admitted = RateLimits(policy), RateLimits(policy), []
    for number, now_ns in enumerate(times):
        if number == cut:
            resumed = RateLimits(policy, resumed.full_ns)
        over = limits.over(now_ns)
        assert resumed.over(now_ns) == over
        if not over:
            admitted.append(now_ns)
    for first, began in enumerate(admitted):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= burst + (admitted[last] - began) * rate / SECOND_NS + 1e-6
    assert admitted[: min(burst, len(times))] == times[: min(burst, len(times))]


# -- freeze windows ----------------------------------------------------------------------------------------------------------------

_ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"]
#: Around changes of clocks in each of the zones, and in between.
_MOMENTS = st.sampled_from(
    [(2026, 3, 8), (2026, 3, 29), (2026, 4, 5), (2026, 9, 6), (2026, 10, 4), (2026, 10, 25), (2026, 11, 1), (2026, 7, 1)]
)


def starts(zone: ZoneInfo, hour: int, minute: int, weekdays: set[int], around: date) -> Iterator[datetime]:
    """Every moment that `minute hour * * weekdays` names within a week: one that does not exist is the first minute that does."""
    for offset in range(-7, 8):
        day = around + timedelta(days=offset)
        if day.isoweekday() % 7 not in weekdays:
            continue
        wall = datetime.combine(day, clock(hour, minute))
        moment = wall.replace(tzinfo=zone).astimezone(UTC)
        while moment.astimezone(zone).replace(tzinfo=None) != wall:
            wall += timedelta(minutes=1)
            moment = wall.replace(tzinfo=zone).astimezone(UTC)
        yield moment


@given(
    st.sampled_from(_ZONES),
    _MOMENTS,
    st.integers(0, 2 * 1440),
    st.integers(0, 23),
    st.integers(0, 59),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(1, 3 * 1440),
)
def test_a_window_is_open_from_each_named_moment_for_its_duration(
    zone: str, day: tuple[int, int, int], after: int, hour: int, minute: int, weekdays: set[int], duration: int
) -> None:
    """In zones with changes of clocks of an hour, of half an hour, at midnight, and without any."""
    now = datetime(*day, tzinfo=UTC) - timedelta(days=1) + timedelta(minutes=after)
    cron = f"{minute} {hour} * * {','.join(map(str, sorted(weekdays)))}"
    check = check_of("freeze_window", cron=cron, duration_minutes=duration, time_zone=zone)
    named = starts(ZoneInfo(zone), hour, minute, weekdays, date(*day))
    expected = any(start <= now < start + timedelta(minutes=duration) for start in named)
    assert (check(case(at_ms=int(now.timestamp() * 1000))) is not None) == expected
