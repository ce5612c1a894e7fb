"""Policy `rate_limit`, the engine's half: an event that the bridge found to be over the rate is not taken. Counting: `streams/rate_limits.py`.

The bridge stamps the policy's name into the record's `sm-ingress` header, and a repeated record carries the same stamp.
"""

from __future__ import annotations

from agents.policies.base import Case, Check, Finding
from streams.settings_policies import RateLimit


def rate_limit(policy: RateLimit) -> Check:
    name = policy.name
    allowed = f"{policy.events_per_s:g} events per second on the average and {policy.burst_events} at once"

    def check(case: Case) -> Finding | None:
        over = case.ingress.over
        if not over or name not in over.split(","):
            return None
        return Finding("rate.limited", f"{case.ingress.principal} may publish {allowed}; send it again, more slowly")

    return check
