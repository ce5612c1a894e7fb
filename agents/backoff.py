"""How long to wait before the next attempt: exponential with full jitter, bounded. Nothing here sleeps.

Full jitter (a uniform draw from nothing to the exponential bound) spreads a crowd best: Brooker, "Exponential Backoff And
Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

#: 2**30 times any minimum is beyond any maximum; more would only make large integers.
_EXPONENT_MAX = 30


class Backoff(msgspec.Struct, frozen=True):
    """Bounds in seconds, and where the jitter comes from: a function that returns [0, 1)."""

    s_min: float
    s_max: float
    random: Callable[[], float] = random.random

    def delay_ms(self, attempts: int, retry_after_s: float | None = None) -> int:
        """The wait after failure number `attempts` (from 1), at least what the other side asked for, never above `s_max`."""
        bound_s = min(self.s_max, self.s_min * 2.0 ** min(max(attempts, 1) - 1, _EXPONENT_MAX))
        wish_s = max(self.random() * bound_s, retry_after_s or 0.0)
        return max(1, round(min(wish_s, self.s_max) * 1000))
