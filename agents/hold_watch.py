"""What everything asks before it begins to deliver: which holds are in effect, and does this worker know that for sure?

Sure is who has read [control] to its end within the lease. A worker that was paused, cut off or is too slow holds no lease and begins
nothing, so a hold is in effect everywhere one lease after it could first be read, though nobody was asked to confirm it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from streams.control import Hold
from streams.holds import Holds

#: A hold is in effect one second after the 202; what is left is for an attempt to get from this question to the wire.
LEASE_S = 0.7
#: A transaction's records can be read a little later than its commit is answered.
_READABLE_S = 1.0
_LOOK_S = 0.02

#: What holds while nobody knows what does: everything.
UNKNOWN = Holds([Hold("unknown", "halt", reason="the control topic cannot be read; is the log away, or this worker too slow?")])


class Control(Protocol):
    """The part of `ControlReader` that matters here. `fresh_at` is monotonic seconds: all that could be read then is known."""

    fresh_at: float
    on_change: list[Callable[[], None]]

    @property
    def holds(self) -> Mapping[str, Hold]: ...

    def is_fresh(self, lease_s: float) -> bool: ...


class HoldWatch:
    """`on_change` is called whenever other holds than before are in effect; it must not block.

    The control topic may be followed on another thread (`streams/control_thread.py`); then `tell` brings the calls to where they belong.
    What is read is compiled there, before it counts as known. So whoever asks first whether that is current, and then what it is, never
    acts on something older.
    """

    def __init__(
        self,
        control: Control,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        tell: Callable[[Callable[[], None]], object] = lambda callback: callback(),
    ) -> None:
        self._control = control
        self._clock_s = clock_s
        self._tell = tell
        self._compiling = threading.Lock()
        self._known = tuple(control.holds.values())
        self._announced: dict[str, tuple[Hold, float]] = {}
        self._holds = Holds(self._known)
        self.on_change: list[Callable[[], None]] = []
        control.on_change.append(self._read)

    def is_current(self) -> bool:
        return self._control.is_fresh(LEASE_S)

    @property
    def age_s(self) -> float:
        """Of the knowledge; infinite until the topic was read for the first time."""
        return self._clock_s() - self._control.fresh_at

    @property
    def holds(self) -> Holds:
        """In effect, as far as is known."""
        if self._announced:
            self._compile()
        return self._holds

    def in_effect(self) -> Holds:
        """For those who act on the answer: everything is held while it is not known what is."""
        return self.holds if self.is_current() else UNKNOWN

    async def wait_current(self, timeout_s: float) -> None:
        """Until the lease is held; at most so long."""
        until_s = self._clock_s() + timeout_s
        while not self.is_current() and self._clock_s() < until_s:
            await asyncio.sleep(_LOOK_S)

    def announce(self, holds: Iterable[Hold]) -> None:
        """A turn has committed these: they are in effect here before they come back from the log."""
        now_s = self._clock_s()
        with self._compiling:
            self._announced |= {hold.id: (hold, now_s) for hold in holds}
        self._compile()

    def _read(self) -> None:
        """On the thread of whoever follows the topic."""
        self._known = tuple(self._control.holds.values())
        self._compile()

    def _compile(self) -> None:
        with self._compiling:
            before, self._holds = self._holds, self._compiled()
        if before != self._holds:
            for callback in self.on_change:
                self._tell(callback)

    def _compiled(self) -> Holds:
        """From when something announced could be read on, what is read decides: it may have been released since."""
        known, until_s = {hold.id for hold in self._known}, self._control.fresh_at - _READABLE_S
        self._announced = {i: (hold, at_s) for i, (hold, at_s) in self._announced.items() if i not in known and at_s > until_s}
        return Holds([*self._known, *(hold for hold, _ in self._announced.values())])
