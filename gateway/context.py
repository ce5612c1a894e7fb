"""What every operation of the gateway works on, in one object; made by `server.py`, or by a test with parts of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from agents.hold_watch import HoldWatch
from gateway.alerting.recent import RecentAlerts
from gateway.door_rates import DoorRates
from gateway.problems import NotFound, Unavailable
from gateway.refusals import Refusals
from streams.command_log import CommandLog
from streams.control_log import ControlLog
from streams.control_reader import ControlReader
from streams.errors import Refusal, Retriable
from streams.publisher import Publisher
from streams.settings import Settings
from tables.index import AuditIndex
from tables.model import Marker
from tables.queries import Queries
from tables.replica import Progress
from tables.status import Status

_RATE_WINDOW_S = 10.0


class Replica(Protocol):
    """The part of `tables.replica.Replica` that the gateway uses."""

    ready: bool
    polled_at_s: float

    def progress(self) -> Mapping[int, Progress]: ...

    def wait_marker(self, partition: int, reached: Callable[[Marker], bool], timeout_s: float) -> Awaitable[bool]: ...


class Following(Protocol):
    """Something that follows a topic. `ready` once it has reached the end that the topic had at the start."""

    ready: bool

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...


class AuditFollowing(Following, Protocol):
    def reindex(self) -> None: ...


class Beat:
    """When the event loop last had a turn of its own."""

    def __init__(self) -> None:
        self.at_s = time.monotonic()


class RestoreRate:
    """How fast changelog records have been applied during the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, at_s: float, applied: int) -> None:
        self._samples.append((at_s, applied))
        while self._samples[0][0] < at_s - _RATE_WINDOW_S:
            self._samples.popleft()

    def eta_s(self, remaining: int) -> float | None:
        """None while the rate is not known."""
        if remaining == 0 or not self._samples:
            return None if remaining else 0.0
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return round(remaining * (ended - began) / (last - first), 1) if last > first else None


@dataclass(frozen=True)
class Context:
    settings: Settings
    replica: Replica
    queries: Queries
    status: Status
    audit: AuditIndex
    audit_follower: AuditFollowing
    publisher: Publisher
    commands: CommandLog
    control: ControlReader
    control_log: ControlLog
    refusals: Refusals
    alerts: RecentAlerts
    restore_rate: RestoreRate = field(default_factory=RestoreRate)
    beat: Beat = field(default_factory=Beat)

    @cached_property
    def watch(self) -> HoldWatch:
        """The holds in effect, compiled."""
        return HoldWatch(self.control)

    @cached_property
    def door_rates(self) -> DoorRates:
        return DoorRates(self.settings)

    def require_ready(self) -> None:
        """A list that is not complete must not look as if it were."""
        if not self.replica.ready:
            raise Unavailable("replica.restoring", "this replica is still being restored; /readyz tells how far it is")

    def unknown(self, code: str, detail: str) -> Refusal | Retriable:
        """What to raise for what was not found: 404 only from a replica that would know."""
        if self.replica.ready:
            return NotFound(code, detail)
        return Unavailable("replica.restoring", f"{detail}; but this replica is still being restored, see /readyz")
