"""Requests on their way: each is late, lost on the way there, lost on the way back, or so slow that its sender has given up meanwhile.

What a server does happens on nobody's behalf: it happens although the process that asked was killed or stopped after sending.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tests.simulation.loop import SimulatedLoop

T = TypeVar("T")


class Lost(Exception):
    """No answer. Whether it happened, nobody knows."""


class Wire:
    """`trouble` is the probability that a request does not go through as it should; 0 once the faults are over."""

    def __init__(
        self, loop: SimulatedLoop, *, latency_s_max: float = 0.02, timeout_s: float = 2.0, is_patient: bool = False
    ) -> None:
        self.loop = loop
        self.trouble = 0.0
        self.is_down = False
        self._latency_s_max = latency_s_max
        self._timeout_s = timeout_s
        self._is_patient = is_patient  # nothing arrives after its sender has given up

    def latency_s(self) -> float:
        return self.loop.random.random() * self._latency_s_max

    async def ask(self, server: Callable[..., T], *args: Any) -> T:
        """Run `server(*args)` at the other end; its exceptions come back. Raises Lost after the time-out."""
        loop, answer = self.loop, self.loop.create_future()
        fate = loop.random.random()
        there_s = self.latency_s()
        if fate < self.trouble:
            loop.later(self._timeout_s, _fail, answer, Lost("no answer"))
            if fate < self.trouble / 3:
                return await answer  # lost on the way there
            if fate < self.trouble * 2 / 3:
                there_s = (
                    loop.random.random() * self._timeout_s * (1 if self._is_patient else 2)
                )  # it may well arrive after the sender has given up
        loop.later(there_s, self._arrive, answer, fate < self.trouble, server, args)
        return await answer

    def _arrive(self, answer: Any, is_answer_lost: bool, server: Callable[..., Any], args: Any) -> None:
        if self._is_patient and answer.done():
            return
        if self.is_down:
            self.loop.later(self._timeout_s, _fail, answer, Lost("nobody is there"))
            return
        try:
            result, error = server(*args), None
        except Exception as exc:
            result, error = None, exc
        if is_answer_lost:
            return
        set_answer = (_succeed, answer, result) if error is None else (_fail, answer, error)
        if self.loop.random.random() < 0.5:
            self.loop.later(self.latency_s(), *set_answer)
        else:
            set_answer[0](*set_answer[1:])


def _fail(answer: Any, error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _succeed(answer: Any, result: Any) -> None:
    if not answer.done():
        answer.set_result(result)
