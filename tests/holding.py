"""A stand-in for the control topic: what is held, and whether that is known, as the test says."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Any

from agents.hold_watch import HoldWatch
from streams.control import Hold


class FakeControl:
    def __init__(self) -> None:
        self.holds: dict[str, Hold] = {}
        self.on_change: list[Callable[[], None]] = []
        self.is_known = True
        self._numbers = count(1)

    @property
    def fresh_at(self) -> float:
        return time.monotonic() if self.is_known else float("-inf")

    def is_fresh(self, lease_s: float) -> bool:
        return self.is_known

    def hold(self, *artifacts: str, component: str = "", **fields: Any) -> str:
        ident = f"h{next(self._numbers)}"
        self.holds[ident] = Hold(ident, "halt", artifacts, component, **({"principal": "operator", "reason": "test"} | fields))
        self.tell()
        return ident

    def release(self, ident: str) -> None:
        del self.holds[ident]
        self.tell()

    def tell(self) -> None:
        for callback in self.on_change:
            callback()


def nothing_held() -> HoldWatch:
    return HoldWatch(FakeControl())
