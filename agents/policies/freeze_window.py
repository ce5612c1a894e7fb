"""Policy `freeze_window`: nothing is taken for a while from each moment that a cron expression names. Judged by the ingress time.

The expression is read by the clock of its time zone as Debian's cron does (cronsim): a time that a change of clocks skips counts at the
change, one that it repeats counts once, the first time. The duration is elapsed time, whatever the clocks do.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

from agents.policies.base import Case, Check, Finding
from streams.settings_policies import FreezeWindow

_MINUTE_MS = 60_000
_MINUTES_MAX = 4096


def freeze_window(policy: FreezeWindow) -> Check:
    zone, cron, minutes = ZoneInfo(policy.time_zone), policy.cron, policy.duration_minutes

    @lru_cache(maxsize=_MINUTES_MAX)
    def frozen_until(minute: int) -> str:
        """A window begins and ends with a minute, so all of a minute is judged alike. Empty outside of windows."""
        begin = first_after(cron, zone, minute - minutes)
        if begin is None or begin > minute:
            return ""
        return datetime.fromtimestamp((begin + minutes) * 60, UTC).astimezone(zone).isoformat(timespec="minutes")

    def check(case: Case) -> Finding | None:
        until = frozen_until(case.ingress.ingress_ms // _MINUTE_MS)
        return Finding("freeze.window", f"frozen until {until}, or longer if another window follows") if until else None

    return check


def first_after(cron: str, zone: ZoneInfo, minute: int) -> int | None:
    """The first minute after `minute` (both counted since 1970) that the expression names; None if there is none in 50 years."""
    for moment in CronSim(cron, datetime.fromtimestamp(minute * 60, UTC).astimezone(zone)):
        found = int(moment.timestamp()) // 60
        if found > minute:  # in a repeated hour cronsim begins with the first of the two
            return found
    return None
