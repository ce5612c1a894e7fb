"""Time as the partition's writer sees it: wall clock in milliseconds, and the hybrid logical clock stamped on accepted versions.

Hybrid logical clock: Kulkarni et al., "Logical Physical Clocks", OPODIS 2014. It never goes back within a partition, stays close to
the wall clock, and with the cluster's name appended orders versions of different clusters the same way everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tables.model import Marker

#: Epoch milliseconds. Injected everywhere, so that tests own time.
Clock = Callable[[], int]


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class HybridClock:
    """Goes on from the marker; `ms` and `count` go back into it."""

    def __init__(self, marker: Marker, cluster: str, now_ms: int) -> None:
        self._cluster = cluster
        self.ms, self.count = marker.hlc_ms, marker.hlc_count
        if now_ms > self.ms:
            self.ms, self.count = now_ms, 0

    def tick(self) -> str:
        self.count += 1
        return f"{self.ms}.{self.count}@{self._cluster}"
