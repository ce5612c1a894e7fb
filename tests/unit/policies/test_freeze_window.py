"""Policy `freeze_window`: when it is closed, by the clock of its time zone, also over changes of clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agents.policies.base import Check
from tests.policy_cases import case, check_of

BERLIN = ZoneInfo("Europe/Berlin")
WEEKEND: dict[str, Any] = {"cron": "0 18 * * FRI", "duration_minutes": 63 * 60, "time_zone": "Europe/Berlin"}


def freeze(**keys: Any) -> Check:
    return check_of("freeze_window", **keys)


def frozen(check: Check, moment: datetime) -> bool:
    return check(case(at_ms=int(moment.timestamp() * 1000))) is not None


def berlin(*fields: int, fold: int = 0) -> datetime:
    return datetime(*fields, tzinfo=BERLIN, fold=fold)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (berlin(2026, 11, 20, 17, 59, 59), False),
        (berlin(2026, 11, 20, 18, 0, 0), True),
        (berlin(2026, 11, 22, 12, 0, 0), True),
        (berlin(2026, 11, 23, 8, 59, 59), True),
        (berlin(2026, 11, 23, 9, 0, 0), False),
    ],
)
def test_a_window_begins_with_its_minute_and_ends_before_its_last(moment: datetime, expected: bool) -> None:
    """From Friday 18:00 for 63 hours is until Monday 9:00, exclusively."""
    assert frozen(freeze(**WEEKEND), moment) is expected


def test_the_ingress_time_decides() -> None:
    """An event of a frozen minute is refused whenever it is judged, and one from before is not: a repetition is judged alike."""
    check, moment = freeze(**WEEKEND), berlin(2026, 11, 20, 18, 0)
    assert [frozen(check, moment) for _ in range(3)] == [True, True, True]
    assert not frozen(check, berlin(2026, 11, 20, 17, 59))


def test_a_refusal_tells_until_when() -> None:
    """In the window's own time zone."""
    found = freeze(**WEEKEND)(case(at_ms=int(berlin(2026, 11, 21, 12).timestamp() * 1000)))
    assert found is not None
    assert found.code == "freeze.window"
    assert "2026-11-23T09:00+01:00" in found.detail


def test_windows_that_overlap_are_one() -> None:
    """A window longer than its period never ends."""
    check = freeze(cron="0 * * * *", duration_minutes=61)
    assert all(frozen(check, datetime(2026, 5, 1, hour, minute, tzinfo=UTC)) for hour in range(24) for minute in (0, 30, 59))


def test_the_same_wall_clock_before_and_after_a_change_of_clocks() -> None:
    """9:00 in Berlin is 9:00 in summer and in winter."""
    check = freeze(cron="0 9 * * *", duration_minutes=60, time_zone="Europe/Berlin")
    for day in ((2026, 10, 24), (2026, 10, 25), (2026, 10, 26), (2026, 3, 28), (2026, 3, 29), (2026, 3, 30)):
        closed = [hour for hour in range(24) if frozen(check, berlin(*day, hour, 30))]
        assert closed == [9], day


def test_a_duration_is_elapsed_time() -> None:
    """Ten hours over the night in which clocks go back end an hour earlier by the wall, over the one in which they go forward an hour later."""
    check = freeze(cron="0 20 * * *", duration_minutes=600, time_zone="Europe/Berlin")
    back, forward, plain = (2026, 10, 25), (2026, 3, 29), (2026, 5, 10)
    for day, last in ((back, 4), (forward, 6), (plain, 5)):
        assert frozen(check, berlin(*day, last, 59)), day
        assert not frozen(check, berlin(*day, last + 1, 0)), day


def test_a_moment_that_a_change_of_clocks_skips_counts_at_the_change() -> None:
    """2:30 does not exist on 29 March 2026 in Berlin: the window begins at 3:00."""
    check = freeze(cron="30 2 * * *", duration_minutes=20, time_zone="Europe/Berlin")
    assert not frozen(check, berlin(2026, 3, 29, 1, 59))
    assert frozen(check, berlin(2026, 3, 29, 3, 0))
    assert frozen(check, berlin(2026, 3, 29, 3, 19))
    assert not frozen(check, berlin(2026, 3, 29, 3, 20))


def test_a_moment_that_a_change_of_clocks_repeats_counts_once() -> None:
    """2:30 comes twice on 25 October 2026 in Berlin: the window begins at the first."""
    check = freeze(cron="30 2 * * *", duration_minutes=20, time_zone="Europe/Berlin")
    assert frozen(check, berlin(2026, 10, 25, 2, 30, fold=0))
    assert frozen(check, berlin(2026, 10, 25, 2, 49, fold=0))
    assert not frozen(check, berlin(2026, 10, 25, 2, 30, fold=1))


def test_a_window_of_the_first_repeated_hour_reaches_into_the_second() -> None:
    """40 minutes after the first 2:30 is the second 2:10, by the clock before the window."""
    check = freeze(cron="30 2 * * *", duration_minutes=60, time_zone="Europe/Berlin")
    assert frozen(check, berlin(2026, 10, 25, 2, 10, fold=1))
    assert frozen(check, berlin(2026, 10, 25, 2, 29, fold=1))
    assert not frozen(check, berlin(2026, 10, 25, 2, 30, fold=1))


def test_only_its_environment_is_frozen() -> None:
    """A freeze of prod leaves test alone."""
    from tests.policy_cases import judged

    policy = {"name": "it", "kind": "freeze_window", "environments": ["prod"], "cron": "* * * * *", "duration_minutes": 5}
    assert judged(case("environment/prod"), policy).verdict is not None
    assert judged(case("environment/test"), policy).verdict is None
    assert judged(case("chart/argo-cd"), policy).verdict is None
