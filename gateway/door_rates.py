"""Rate limits at the HTTP door: who publishes too fast is told at once, and when to try again. The bridge's half, which holds for every door,
is `streams/bridge_encode.py`.

Each gateway counts for itself, so a principal that uses several, or NATS besides, is held to its rate by the bridge alone. Only policies that
refuse answer here: what is to be quarantined, to alert or to halt must get as far as the engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from gateway.problems import Problem
from streams.metrics import RATE_LIMITED
from streams.rate_limits import RateLimits, limits_of
from streams.settings import Settings
from streams.settings_policies import RateLimit


class DoorRates:
    """A principal's buckets begin full when it is first seen."""

    def __init__(self, settings: Settings, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._settings = settings
        self._now_ns = now_ns
        self._limits: dict[str, RateLimits] = {}

    def admit(self, principal: str, events: int) -> None:
        """Count so many events. Raises Problem 429 with `Retry-After`, or 413 for more at once than there can ever be room for."""
        limits = self._limits.get(principal)
        if limits is None:
            found = (_kept_back(policy) for policy in limits_of(self._settings, principal) if policy.action == "refuse")
            limits = self._limits[principal] = RateLimits(tuple(found))
        name, wait_s = limits.admit(self._now_ns(), events)
        if not name:
            return
        RATE_LIMITED.labels(principal, "http").inc(events)
        burst = limits.burst_events(name)
        if events > burst:
            raise Problem(
                413, "rate.batch_too_large", f"{events} events at once; {name} has room for {burst}: send fewer", rule=name
            )
        detail = f"{principal} publishes faster than {name} allows; send the same again after the time in Retry-After"
        raise Problem(429, "rate.limited", detail, headers={"Retry-After": str(math.ceil(wait_s))}, rule=name)


def _kept_back(policy: RateLimit) -> RateLimit:
    """A tenth of the burst, because events come closer together on their way to JetStream, whose time the bridge goes by."""
    return policy.model_copy(update={"burst_events": policy.burst_events - policy.burst_events // 10})
