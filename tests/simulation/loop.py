"""An event loop without a machine below it: time is virtual, nothing is waited for, and a seed chooses who runs next.

A *process* is a context variable: every task and timer that a process starts inherits it, so the loop knows whose callback it is about to
run. A killed process's callbacks are never run again (no `finally`, no `except`, as with kill -9); a stopped one's are kept until
it goes on, while timers of others, servers and requests on their way go on without it (SIGSTOP).
"""

from __future__ import annotations

import asyncio
import heapq
import random
import warnings
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, ClassVar

PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
#: How many ready callbacks the seed chooses among; within one process they run in their order.
_CHOICES_MAX = 4
_LAST_WORDS_MAX = 50


class Stuck(AssertionError):
    """Nobody can ever run again, or everybody runs for ever."""


class Process:
    """Something that can be killed and stopped as a whole."""

    def __init__(self, name: str, loop: SimulatedLoop) -> None:
        self.name = name
        self._loop = loop
        self._context = copy_context()
        self._context.run(PROCESS.set, self)
        self.held: list[asyncio.Handle] = []
        self.is_stopped = False
        self.is_dead = False

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self._loop.create_task(coroutine, context=self._context.copy())

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        self._loop.call_soon(function, *args, context=self._context.copy())

    def kill(self) -> None:
        self.is_dead = True
        self.held.clear()

    def stop(self) -> None:
        self.is_stopped = True

    def resume(self) -> None:
        self.is_stopped = False
        held, self.held = self.held, []
        self._loop._ready.extend(held)


class _Task(asyncio.Task):  # type: ignore[type-arg]
    """Sets of tasks are walked in the order of creation, not of memory addresses: a seed replays exactly."""

    def __init__(self, coroutine: Any, number: int, **options: Any) -> None:
        self.number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self.number


class _Event:
    """A callback of nobody's."""

    __slots__ = ("_args", "_function")
    _cancelled = False
    _context: ClassVar[dict[Any, Any]] = {}

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function = function
        self._args = args

    def _run(self) -> None:
        self._function(*self._args)


class SimulatedLoop(asyncio.BaseEventLoop):
    def __init__(self, seed: int, *, steps_max: int = 400_000) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.now_s = 1000.0
        self.steps = 0
        self._steps_max = steps_max
        self._timers: list[tuple[float, int, Any]] = []  # in the order of their times, then of their making
        self._number = 0
        self._tasks: list[_Task] = []  # a killed process's tasks are not to be found by the garbage collector, or they would run
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self.now_s

    def later(self, delay_s: float, function: Callable[..., Any], *args: Any) -> None:
        """On nobody's behalf: a server, the wire, the world."""
        self._number += 1
        heapq.heappush(self._timers, (self.now_s + delay_s, self._number, _Event(function, args)))

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, timer))
        return timer

    def bury(self) -> None:
        """End every task there ever was, also those of the dead: what the garbage collector found unfinished, it would run."""
        self._ready.clear()
        self._timers.clear()
        asyncio._set_running_loop(self)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for task in self._tasks:
                task._log_destroy_pending = False
                if not task.done():
                    _throw(task.get_coro())
            self._tasks.clear()
        asyncio._set_running_loop(None)
        self.close()

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None) -> _Task:
        task = _Task(coroutine, len(self._tasks), loop=loop, context=context)
        asyncio._unregister_task(task)  # this loop knows its tasks; asyncio's own set of all would outlive it
        self._tasks.append(task)
        return task

    def _run_once(self) -> None:
        if not self._ready:
            self._advance()
        handle = self._choose()
        if handle._cancelled:
            return
        self.steps += 1
        if self.steps > self._steps_max:
            raise Stuck(f"{self.steps} steps, and no end")
        process = handle._context.get(PROCESS)
        if process is None or not (process.is_dead or process.is_stopped):
            handle._run()
        elif not process.is_dead:
            process.held.append(handle)

    def _advance(self) -> None:
        """Nobody can run: the time of the next timer has come, and of all that are due with it."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if timers:
            self.now_s = max(self.now_s, timers[0][0])
            while timers and timers[0][0] <= self.now_s:
                self._ready.append(heapq.heappop(timers)[2])
        elif self._stopping:
            self._ready.append(_Event(_nothing, ()))
        else:
            raise Stuck("nobody can run any more, and no timer is set")

    def _choose(self) -> Any:
        """One of the first few, but none before an earlier one of its own process."""
        ready = self._ready
        if len(ready) == 1:
            return ready.popleft()
        wanted = ready[self.random.randrange(min(len(ready), _CHOICES_MAX))]._context.get(PROCESS)
        for index, handle in enumerate(ready):
            if handle._context.get(PROCESS) is wanted:
                del ready[index]
                return handle
        raise AssertionError

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _process_events(self, event_list: Any) -> None:
        """There are none: nothing here touches the machine."""


def _throw(coroutine: Any) -> None:
    """Whatever it awaits on its way out is cancelled too."""
    for _ in range(_LAST_WORDS_MAX):
        try:
            coroutine.throw(asyncio.CancelledError())
        except BaseException:
            return


def _nothing() -> None:
    return
