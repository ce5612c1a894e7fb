"""Whether a component may be attempted at all: a circuit breaker. Pure; the actor asks before each attempt and tells how it went.

    OPEN ── a failure that says the component is away ──► CLOSED until a time ── the time has come ──► one PROBE under way
     ▲                                                       ▲                                            │      │
     └───────────────────── any attempt reached it ──────────│────────────────────────────────────────────┘      │
                                                             └──────────── away still, for longer ───────────────┘

While it is closed nothing else is attempted and nothing is written, so a component that is down costs one attempt per backoff.
Only the failure that closes the gate and those of probes are *told* (become receipts); others that were in flight just go back.
"""

from __future__ import annotations

from agents.backoff import Backoff


class Gate:
    """Of one component in one worker. A `permit` is a number: which closing the attempt was begun under.

    Probes are one cheap attempt for the whole component, so they come more often than retries of a single pair; only the component
    itself can ask for more patience, up to `retry_after_s_max`.
    """

    def __init__(self, backoff: Backoff, retry_after_s_max: float) -> None:
        self._backoff = backoff
        self._retry_after_s_max = retry_after_s_max
        self._failures = 0
        self._probe: int | None = None
        self._permits = 0
        self.closed_until_ms: int | None = None

    @property
    def is_open(self) -> bool:
        return self.closed_until_ms is None

    def admits(self, now_ms: int) -> bool:
        """Whether an attempt may begin now."""
        return self.closed_until_ms is None or (self._probe is None and now_ms >= self.closed_until_ms)

    def enter(self) -> int:
        """An attempt begins; only after `admits`. Returns its permit."""
        self._permits += 1
        if not self.is_open:
            self._probe = self._permits
        return self._permits

    def reached(self) -> bool:
        """The component answered, whatever it said. True if that opened the gate."""
        was_closed = not self.is_open
        self._failures, self._probe, self.closed_until_ms = 0, None, None
        return was_closed

    def away(self, permit: int, now_ms: int, retry_after_s: float | None = None) -> bool:
        """The component could not be reached. True if this failure is one to tell."""
        if not self.is_open and permit != self._probe:
            return False
        self._failures += 1
        self._probe = None
        wish_ms = int(min(retry_after_s or 0.0, self._retry_after_s_max) * 1000)
        self.closed_until_ms = now_ms + max(self._backoff.delay_ms(self._failures), wish_ms)
        return True

    def abandoned(self, permit: int) -> None:
        """The attempt ended without an answer of any kind: its partition was revoked."""
        if permit == self._probe:
            self._probe = None
