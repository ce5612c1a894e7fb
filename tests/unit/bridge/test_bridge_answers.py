"""What the bridge does after each kind of error: the metric's reason, the pause, and what the operator is told."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from streams import bridge as bridge_module
from streams.bridge import answer
from streams.errors import ConfigError, Fenced, Gap, Retriable
from streams.log_append import AppendFailed
from streams.log_ends import LogAway, Shrunk
from streams.logs import Quiet
from streams.nats_door import ApiError
from streams.together import finish, run_together


@pytest.fixture(autouse=True)
def _fresh_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "AWAY", Quiet())


@pytest.mark.parametrize(
    ("error", "reason", "level"),
    [
        (Gap("missing"), "gap", "error"),
        (ConfigError("refused"), "config", "error"),
        (Fenced("lost"), "fenced", "info"),
        (AppendFailed("refused"), "kafka", "warning"),
        (LogAway("away"), "kafka", "warning"),
        (Retriable("away"), "nats", "warning"),
        (ApiError(503, 10008, "not ready"), "nats", "warning"),
        (RuntimeError("bug"), "error", "error"),
    ],
)
def test_every_error_has_its_reason_and_its_line(error: Exception, reason: str, level: str) -> None:
    """Reasons are a closed set; alerts are errors, absences are warnings."""
    with capture_logs() as lines:
        assert answer(error, "c4")[0] == reason
    assert [line["log_level"] for line in lines] == [level]


def test_a_shrunk_log_needs_no_line_and_no_pause() -> None:
    """The next beginning tells it, with what follows from it."""
    with capture_logs() as lines:
        assert answer(Shrunk("ends before"), "c4") == ("log_shrank", 0.0)
    assert lines == []


def test_a_stopped_stream_is_looked_at_slowly() -> None:
    """Every 30 s, so that the alert is not a flood."""
    assert answer(Gap("missing"), "c4")[1] == 30.0


async def test_tasks_end_together_even_when_a_cancellation_gets_lost() -> None:
    """One raises, the other swallows its first cancellation: both have ended when the error comes out."""
    ended = asyncio.Event()

    async def deaf() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise Fenced("lost")

    with pytest.raises(Fenced):
        await asyncio.wait_for(run_together(deaf(), fails()), 10)
    assert ended.is_set()


async def test_what_must_finish_finishes_before_the_cancellation_goes_on() -> None:
    """A connection that is being made is made, and can then be closed."""
    made = asyncio.Event()

    async def make() -> None:
        await asyncio.sleep(0.02)
        made.set()

    task = asyncio.create_task(finish(make()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.is_set()
