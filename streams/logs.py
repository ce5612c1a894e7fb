"""How log lines look, and how few there are while something is away. What is worth a line is decided where it happens.

With a terminal lines are for people, without one they are JSON. Libraries (nats, aiokafka) write through the same handler, from
WARNING up, and share the limit of the thing that they are about: while NATS or the log is away, a process writes at most one line
per 10 s about it, whoever has something to say.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import structlog

#: Which library speaks about what. The value is the subject of `Quiet`.
_LIBRARIES = {"nats": "nats", "aiokafka": "kafka", "kafka": "kafka"}


class Quiet:
    """At most one line per `interval_s` and subject; the next one tells how many were swallowed. Subjects come from a small fixed set."""

    def __init__(self, interval_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._last: dict[str, float] = {}
        self._swallowed: dict[str, int] = {}

    def admit(self, subject: str) -> int | None:
        """How many lines were swallowed since the last one, if a line may be written now; None swallows this one too."""
        now = self._clock()
        last = self._last.get(subject)
        if last is not None and now - last < self._interval_s:
            self._swallowed[subject] = self._swallowed.get(subject, 0) + 1
            return None
        self._last[subject] = now
        return self._swallowed.pop(subject, 0)

    def warning(self, log: Any, subject: str, event: str, **fields: Any) -> None:
        swallowed = self.admit(subject)
        if swallowed is not None:
            log.warning(event, **fields, **({"swallowed": swallowed} if swallowed else {}))


#: The process's one limiter: whoever writes about a thing that is away asks it.
AWAY = Quiet()


class LibraryFilter(logging.Filter):
    """Lets the libraries' warnings through as `Quiet` allows, and drops what is below a warning."""

    def __init__(self, quiet: Quiet = AWAY) -> None:
        super().__init__()
        self._quiet = quiet

    def filter(self, record: logging.LogRecord) -> bool:
        subject = _LIBRARIES.get(record.name.partition(".")[0])
        if subject is None:
            return True
        if record.levelno < logging.WARNING:
            return False
        swallowed = self._quiet.admit(subject)
        if swallowed:
            record.msg = f"{record.getMessage()} (and {swallowed} lines like it were swallowed)"
            record.args = None
        return swallowed is not None


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's root logger, once, at the start of a process."""
    out = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(out)
    handler.addFilter(LibraryFilter())
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(out)))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _rendering(out: TextIO) -> list[Any]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if out.isatty():
        # Plain traces: the pretty ones show local variables, and a password may be one.
        return [remove_meta, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [remove_meta, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
