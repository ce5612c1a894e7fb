"""Log lines: at most one per ten seconds about what is away, whoever writes it; JSON without a terminal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from streams.logs import LibraryFilter, Quiet, configure_logging


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(name="restored_logging")
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_one_line_per_interval_and_subject_that_tells_how_many_were_swallowed() -> None:
    """Ten calls a second for 25 s give three lines; another subject is not concerned."""
    clock = Clock()
    quiet = Quiet(10.0, clock)
    with capture_logs() as lines:
        for tick in range(250):
            clock.now_s = tick / 10
            quiet.warning(structlog.get_logger(), "kafka", "away")
        quiet.warning(structlog.get_logger(), "nats", "away too")
    assert [line.get("swallowed", 0) for line in lines] == [0, 99, 99, 0]


def test_libraries_share_the_limit_of_what_they_speak_about() -> None:
    """Once our own line about Kafka is out, aiokafka's are swallowed; others' lines pass."""
    clock = Clock()
    quiet = Quiet(10.0, clock)
    library = LibraryFilter(quiet)

    def passes(name: str, level: int = logging.ERROR) -> bool:
        return library.filter(logging.LogRecord(name, level, "f", 1, "text %s", ("x",), None))

    assert passes("aiokafka.conn")
    assert not passes("aiokafka.client")
    assert passes("nats.aio.client")
    assert passes("asyncio")
    assert passes("asyncio")
    clock.now_s = 10.0
    assert not passes("aiokafka", logging.INFO)
    assert passes("aiokafka")


def test_without_a_terminal_lines_are_json(restored_logging: None) -> None:
    """Ours and the libraries' alike, one object per line."""
    out = io.StringIO()
    configure_logging(stream=out)
    structlog.get_logger("streams.x").info("hello", principal="c4")
    logging.getLogger("other").warning("plain %s", "text")
    ours, theirs = (json.loads(line) for line in out.getvalue().splitlines())
    assert (ours["event"], ours["principal"], ours["level"]) == ("hello", "c4", "info")
    assert (theirs["event"], theirs["logger"]) == ("plain text", "other")
