"""The grace window: what may be purged, and when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.bridge_grace import GraceWindow, shrink


def filled(grace_s: float = 100.0) -> GraceWindow:
    """Checkpoint n at second n, for 0 to 200."""
    window = GraceWindow(grace_s)
    for second in range(201):
        window.note(float(second), second)
    return window


def test_keeps_what_is_younger_than_the_window() -> None:
    """At second 200 with a window of 100 s, what the checkpoint had passed at second 100 may go."""
    assert filled().purge_below(200.0, 200, fill=0.1) == 100


def test_keeps_everything_at_first() -> None:
    """A bridge that has just started does not know how old anything is, and purges nothing."""
    window = GraceWindow(100.0)
    window.note(0.0, 5000)
    assert window.purge_below(0.0, 5000, fill=0.1) == 0


def test_shrinks_with_the_stream_filling() -> None:
    """At 60 % half of the window is left."""
    assert filled().purge_below(200.0, 200, fill=0.6) == 150


def test_is_gone_above_seventy_percent() -> None:
    """Then everything before the checkpoint's own message may go at once."""
    assert filled().purge_below(200.0, 200, fill=0.71) == 200


def test_is_gone_above_seventy_percent_without_samples() -> None:
    """A full stream is freed right after a start, too."""
    assert GraceWindow(100.0).purge_below(0.0, 5000, fill=0.9) == 5000


def test_a_window_of_nothing_keeps_nothing() -> None:
    """`grace_window_s: 0` purges up to the checkpoint."""
    assert GraceWindow(0.0).purge_below(0.0, 17, fill=0.0) == 17


def test_never_beyond_the_checkpoint() -> None:
    """After the bridge has gone back, old samples do not purge what has to be sent again."""
    assert filled().purge_below(200.0, 30, fill=0.1) == 30


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 1000)), max_size=600), st.floats(0, 1))
def test_is_bounded_and_never_passes_the_checkpoint(steps: list[tuple[float, int]], fill: float) -> None:
    """However long it runs, it keeps at most 256 samples and never gives away the checkpoint's own message."""
    window, now, checkpoint = GraceWindow(60.0), 0.0, 0
    for step_s, messages in steps:
        now, checkpoint = now + step_s, checkpoint + messages
        window.note(now, checkpoint)
        assert window.purge_below(now, checkpoint, fill) <= checkpoint
    assert len(window._samples) <= 256


def test_shrinks_steadily() -> None:
    """Whole up to half full, nothing from 70 % on."""
    assert [round(shrink(fill), 2) for fill in (0.0, 0.5, 0.6, 0.7, 1.0)] == [1.0, 1.0, 0.5, 0.0, 0.0]
