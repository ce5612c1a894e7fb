"""Which alerts are sent, and what is said of those that are not."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.alerting.gate import Gate
from streams.alerts import Alert

HOUR_MS = 3_600_000


def alert(rule: str = "freeze", artifact: str = "chart/a", at_ms: int = 0, **fields: Any) -> Alert:
    given = {"severity": "warning", "summary": "told", "next_step": "look"} | fields
    return Alert(id=f"{rule}-{artifact}-{at_ms}", rule=rule, artifact=artifact, at_ms=at_ms, **given)


def gate(repeat_interval_s: float = 3600, per_minute_max: int = 1000) -> Gate:
    return Gate(repeat_interval_s=repeat_interval_s, per_minute_max=per_minute_max)


def test_alike_alerts_are_sent_once() -> None:
    """Within the interval one of a rule, artifact and component is sent; another rule, artifact or component is another alert."""
    found = gate()
    alerts = [alert(), alert(at_ms=1), alert("size"), alert(artifact="chart/b"), alert(component="c20"), alert("size", at_ms=2)]
    assert [found.admit(one, 0.0) is not None for one in alerts] == [True, False, True, True, True, False]


def test_after_the_interval_it_is_sent_again_with_the_count() -> None:
    """The next one that is sent tells how many were like it meanwhile; the one after that begins to count anew."""
    found = gate()
    told = [found.admit(alert(at_ms=at_ms), 0.0) for at_ms in (0, 1, 2, HOUR_MS, 2 * HOUR_MS)]
    summaries = [one.summary for one in told if one is not None]
    assert summaries == ["told", "told (2 more like it since the last that was sent)", "told"]


def test_streams_of_two_principals_are_two_alerts() -> None:
    """What is about no artifact is alike by its principal."""
    found = gate()
    alerts = [alert("stream.stopped", "", principal=principal) for principal in ("c4", "c24", "c4")]
    assert [found.admit(one, 0.0) is not None for one in alerts] == [True, True, False]


def test_too_many_are_told_by_one() -> None:
    """Above the limit nothing is sent; when the minute is over one alert says how many there were, and of which rules."""
    found = gate(per_minute_max=2)
    sent = [found.admit(alert("freeze" if n % 3 else "size", f"chart/{n}"), 10.0) for n in range(9)]
    assert [one is not None for one in sent] == [True, True] + [False] * 7
    assert found.owes
    assert found.due(69.0, 1) is None
    told = found.due(70.0, 12345)
    assert told is not None
    assert (told.rule, told.severity, told.at_ms) == ("alerts.suppressed", "warning", 12345)
    assert told.summary == "7 more alerts were suppressed within a minute: freeze 5, size 2"
    assert "GET /v1/alerts" in told.next_step
    assert not found.owes
    assert found.due(200.0, 1) is None


def test_a_new_minute_has_room_again() -> None:
    """What was suppressed for want of room is sent when it comes again."""
    found = gate(per_minute_max=1)
    assert [found.admit(alert(artifact=f"chart/{n}"), 0.0) is not None for n in range(2)] == [True, False]
    assert found.due(60.0, 1) is not None
    assert found.admit(alert(artifact="chart/1", at_ms=1), 60.0) is not None


def test_warnings_leave_room_for_what_is_critical() -> None:
    """Each severity has a limit of its own; one critical alert that is suppressed makes the one that tells it critical."""
    found = gate(per_minute_max=2)
    flood = [found.admit(alert(artifact=f"chart/{n}"), 0.0) for n in range(10)]
    critical = [found.admit(alert(artifact=f"chart/{n}", rule="halt", severity="critical"), 0.0) for n in range(3)]
    assert [one is not None for one in (*flood[:3], *critical)] == [True, True, False, True, True, False]
    told = found.due(60.0, 1)
    assert told is not None
    assert told.severity == "critical"


@pytest.mark.parametrize("count", [20_000])
def test_what_is_remembered_is_bounded(count: int) -> None:
    """Artifacts without end do not fill the memory; those that come last are remembered."""
    found = gate(per_minute_max=count)
    for number in range(count):
        found.admit(alert(artifact=f"chart/{number}"), 0.0)
    assert len(found._sent) == 10_000
    assert found.admit(alert(artifact=f"chart/{count - 1}", at_ms=1), 0.0) is None
