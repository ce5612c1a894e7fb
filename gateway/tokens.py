"""Tokens of DESIGN: `<source>:<partition>:<position>`. A write returns one, a read that is given one waits until it has been applied.

`SM_IN_c24:3:1.4711.0` is an event: the marks of stream SM_IN_c24 in partition 3 are at or beyond (incarnation, sequence, index).
`commands:3:812` is a command: partition 3 has carried out what is before and at offset 812.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.context import Context
from gateway.problems import Problem, Unavailable, unavailable
from streams.ingress import Mark
from tables.model import Marker

COMMANDS = "commands"
_TOKEN = re.compile(
    r"(?P<source>[A-Za-z0-9_-]{1,64}):(?P<partition>\d{1,5}):"
    r"(?:(?P<offset>\d{1,19})|(?P<incarnation>\d{1,19})\.(?P<sequence>\d{1,19})\.(?P<index>\d{1,9}))",
    re.ASCII,
)
_AUDIT_POLL_S = 0.01


@dataclass(frozen=True)
class Token:
    source: str
    partition: int
    mark: Mark | None = None
    offset: int = 0

    def __str__(self) -> str:
        position = str(self.offset) if self.mark is None else ".".join(map(str, self.mark))
        return f"{self.source}:{self.partition}:{position}"

    def reached(self, marker: Marker) -> bool:
        if self.mark is None:
            return marker.commands > self.offset
        taken = marker.marks.get(self.source)
        return taken is not None and tuple(taken) >= self.mark


def parse(text: str, partitions: int) -> Token:
    """Raises Problem 400 for what no write has ever returned."""
    found = _TOKEN.fullmatch(text)
    if found and int(found["partition"]) < partitions and (found["source"] == COMMANDS) == (found["offset"] is not None):
        mark = None if found["offset"] else (int(found["incarnation"]), int(found["sequence"]), int(found["index"]))
        return Token(found["source"], int(found["partition"]), mark, int(found["offset"] or 0))
    raise Problem(400, "token.malformed", "min_token is not a token that a write returned; pass it on as it was")


async def wait_applied(context: Context, texts: Sequence[str]) -> None:
    """Wait until this replica has applied every token, all within settings.gateway.read_wait_s_max; Problem 504 when it has not."""
    tokens = [parse(text, context.settings.kafka.partitions) for text in texts]
    deadline = _Deadline(context)
    for token in tokens:
        if not context.queries.is_open(token.partition):
            raise Unavailable("replica.restoring", "this replica is just starting; /readyz tells how far it is")
        if not await context.replica.wait_marker(token.partition, token.reached, deadline.left_s()):
            raise deadline.passed(str(token))


async def wait_audited(context: Context, texts: Sequence[str]) -> None:
    """Wait until the audit index has what the partitions of the tokens had written when their markers were applied."""
    deadline = _Deadline(context)
    for partition in {parse(text, context.settings.kafka.partitions).partition for text in texts}:
        wanted = context.queries.marker(partition).audit_seq
        if not await _wait(lambda p=partition, seq=wanted: context.audit.next_seq(p) >= seq, deadline.left_s()):  # type: ignore[misc]
            raise deadline.passed(f"the audit records of partition {partition}")


async def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(_AUDIT_POLL_S)
    return True


class _Deadline:
    def __init__(self, context: Context) -> None:
        self._bound_s = context.settings.gateway.read_wait_s_max
        self._at_s = time.monotonic() + self._bound_s

    def left_s(self) -> float:
        return max(0.0, self._at_s - time.monotonic())

    def passed(self, what: str) -> Problem:
        return unavailable(
            "token.timeout",
            f"{what} has not been applied here within {self._bound_s:g} s; ask again, the write itself is safe",
            status=504,
        )
