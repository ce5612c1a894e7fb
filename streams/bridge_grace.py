"""How long messages stay in a stream although the log has them, in case the log loses its tail. Pure; the purge itself: `nats_streams.py`."""

from __future__ import annotations

from collections import deque

#: From here the window shrinks, and here it is nothing: a full stream refuses its publishers, which is worse.
SHRINKS_ABOVE = 0.5
GONE_ABOVE = 0.7
_SAMPLES_MAX = 256


class GraceWindow:
    """Remembers when the checkpoint was where, coarsely: at most 256 samples however long the window is."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES_MAX)

    def note(self, now_s: float, sequence: int) -> None:
        """The checkpoint is at `sequence` now. Samples closer together than a 256th of the window are not kept."""
        if self._samples and now_s - self._samples[-1][0] < self._grace_s / _SAMPLES_MAX:
            return
        self._samples.append((now_s, sequence))

    def purge_below(self, now_s: float, checkpoint: int, fill: float) -> int:
        """The first sequence that has to stay, or 0: nothing may go. Never beyond the checkpoint's own message."""
        window_s = self._grace_s * shrink(fill)
        if window_s <= 0:
            return max(checkpoint, 0)
        kept = 0
        while self._samples and self._samples[0][0] <= now_s - window_s:
            kept = self._samples.popleft()[1]
        return min(kept, checkpoint)


def shrink(fill: float) -> float:
    """Which part of the window is left when the stream is `fill` (0 to 1) full."""
    return min(1.0, max(0.0, (GONE_ABOVE - fill) / (GONE_ABOVE - SHRINKS_ABOVE)))
