"""How many events a principal may send: token buckets over the door's own timestamps. Pure; bridge and gateway each hold their own.

A bucket is one number, the time at which it is full again (the *generic cell rate algorithm*, ITU-T I.371): an event moves it by one
interval, and is over the rate if that leads beyond `burst` intervals from now. What is over moves nothing. The bridge keeps the numbers
in its checkpoint, with the sequence that they belong to, and its clock is JetStream's timestamp of the message: whoever goes on from
there, after a crash or a change of owner, finds the same events over the rate.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.settings import Settings
from streams.settings_base import glob
from streams.settings_policies import RateLimit

_SECOND_NS = 1_000_000_000


class Bucket:
    """`full_ns` is all of its state; 0 is a full bucket."""

    def __init__(self, policy: RateLimit, full_ns: int = 0) -> None:
        self._interval_ns = max(round(_SECOND_NS / policy.events_per_s), 1)
        self._depth_ns = self._interval_ns * policy.burst_events
        self.burst_events = policy.burst_events
        self.full_ns = full_ns

    def wait_ns(self, now_ns: int, events: int = 1) -> int:
        """How long until so many events have room, if nobody else comes; 0 if they have it now. More than `burst_events` never do.

        A clock that was set back finds an empty bucket, and not one that stays empty until the clock has caught up.
        """
        self.full_ns = min(self.full_ns, now_ns + self._depth_ns)
        return max(max(self.full_ns - now_ns, 0) + events * self._interval_ns - self._depth_ns, 0)

    def take(self, now_ns: int, events: int = 1) -> None:
        self.full_ns = max(self.full_ns, now_ns) + events * self._interval_ns


class RateLimits:
    """All limits of one principal, by the policies' names. A new one begins full."""

    def __init__(self, policies: tuple[RateLimit, ...], full_ns: Mapping[str, int] | None = None) -> None:
        self._buckets = {policy.name: Bucket(policy, (full_ns or {}).get(policy.name, 0)) for policy in policies}

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def over(self, now_ns: int) -> str:
        """Count one event: the names of the limits that it is over, divided by commas. It counts only where it is not."""
        names = []
        for name, bucket in self._buckets.items():
            if bucket.wait_ns(now_ns):
                names.append(name)
            else:
                bucket.take(now_ns)
        return ",".join(names)

    def admit(self, now_ns: int, events: int) -> tuple[str, float]:
        """Count so many events if no limit is against it. Else ("the limit", seconds to wait), and nothing is counted."""
        waits = {name: bucket.wait_ns(now_ns, events) for name, bucket in self._buckets.items()}
        name = max(waits, key=lambda name: waits[name], default="")
        if name and waits[name]:
            return name, waits[name] / _SECOND_NS
        for bucket in self._buckets.values():
            bucket.take(now_ns, events)
        return "", 0.0

    def burst_events(self, name: str) -> int:
        return self._buckets[name].burst_events

    @property
    def full_ns(self) -> dict[str, int]:
        """What has to be remembered to go on from here."""
        return {name: bucket.full_ns for name, bucket in self._buckets.items()}


def limits_of(settings: Settings, principal: str) -> tuple[RateLimit, ...]:
    """The rate limits that count this principal's events."""
    found = (policy for policy in settings.policies if isinstance(policy, RateLimit))
    return tuple(p for p in found if not p.principals or any(glob(pattern).fullmatch(principal) for pattern in p.principals))
