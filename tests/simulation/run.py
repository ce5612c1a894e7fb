"""Runs a schedule: its actions at their times, then everything works again, then everything has to come into step; then the checkers."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

import structlog

from streams.errors import Away, Rejected, Retriable
from streams.log_reader import TP
from streams.logs import AWAY, Quiet
from streams.nats_streams import stream_name
from tables.model import SyncState
from tables.overlay import decode_head
from tests.simulation import checkers, checkers_components  # noqa: F401 - where the checkers are
from tests.simulation.checking import CHECKERS
from tests.simulation.loop import SimulatedLoop, Stuck
from tests.simulation.model import DRAINED_PER_TURN_MAX
from tests.simulation.schedule import (
    HEAL_S,
    Schedule,
    make_holding_schedule,
    make_losing_schedule,
    make_parking_schedule,
    make_schedule,
    make_troubled_schedule,
)
from tests.simulation.world import HeldSpan, World

#: From the end of the faults to everything in step: sessions, leases, backoffs, and a receipt that was lost and is missed after a minute.
STEP_S_MAX = 240.0
#: Until bridges and workers that have nothing to append have looked at the ends of the log, twice.
NOTICE_S = 22.0
TRACE_MAX = 400


class Failure(AssertionError):
    """What a checker said, with the schedule and what the processes logged."""


class Runner:
    def __init__(self, schedule: Schedule, loop: SimulatedLoop) -> None:
        self.schedule = schedule
        self.loop = loop
        self.world = World(loop, schedule)
        self._started_s = loop.time()
        self._producing: list[asyncio.Task[None]] = []
        self._is_healed = False
        self._lengths: list[tuple[float, dict[TP, int]]] = []
        self.trace: list[str] = []
        self.bugs: list[str] = []  # what the code itself calls one

    async def run(self) -> None:
        for action in self.schedule.actions:
            await self._until(action.at_s)
            self._lengths.append((self.loop.time(), self.world.log.lengths()))
            self.note(f"{action.what} {action.arguments if action.what != 'publish' else action.arguments[0]}")
            getattr(self, f"_{action.what}")(*action.arguments)
        await self._until(HEAL_S)
        self._heal()
        await self._until(HEAL_S + (NOTICE_S if self.world.log_has_lost else 0.0))
        await self._wait_in_step()
        assert not self.bugs, "\n".join(self.bugs)
        for checker in CHECKERS:
            checker(self.world)

    def note(self, text: str) -> None:
        self.trace.append(f"{self.loop.time() - self._started_s:8.3f} s  {text}")

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, self._started_s + at_s - self.loop.time()))

    def _after(self, delay_s: float, function: Callable[..., Any], *args: Any) -> None:
        """Unless it has been healed by then."""

        def act() -> None:
            if not self._is_healed:
                self.note(f"{function.__name__} {args}")
                function(*args)

        self.loop.later(delay_s, act)

    # -- actions ------------------------------------------------------------------------------------------------------------------

    def _publish(self, principal: str, body: bytes) -> None:
        self._producing.append(asyncio.ensure_future(self.world.publish(principal, body)))

    def _command(self, artifact: str, component: str) -> None:
        self._producing.append(asyncio.ensure_future(self.world.command(artifact, component)))

    def _decide(self, artifact: str, verb: str, wants_queued: bool) -> None:
        """What an operator sees now may be gone when the command arrives."""
        for partition in self.world.partitions:
            lot, queued = self.world.lots(partition).get(artifact), self.world.queued(partition, artifact)
            if lot is not None and (lot.front or queued):
                subject = self.loop.random.choice(queued) if queued and (wants_queued or not lot.front) else lot.front
                self._order(artifact, verb, subject)

    def _order(self, artifact: str, verb: str, subject: str) -> None:
        self.note(f"{verb} {artifact} {subject}")
        command = self.world.command(artifact, verb=f"quarantine.{verb}", subject=subject)  # type: ignore[arg-type]
        self._producing.append(asyncio.ensure_future(command))

    def _hold(self, artifacts: tuple[str, ...], component: str, for_s: float) -> None:
        span = self.world.new_hold(artifacts, component)
        self._producing.append(asyncio.ensure_future(self.world.hold(span)))
        self._after(for_s, self._release, span)

    def _release(self, span: HeldSpan) -> None:
        self._producing.append(asyncio.ensure_future(self.world.release(span)))

    def _kill_worker(self, number: int, for_s: float, disk: str) -> None:
        self.world.workers[number].process.kill()
        if disk == "drop":
            self.world.disks[number].clear()
        for database in self.world.disks[number].values():
            database.crash()
        self._after(for_s, self._start_worker, number)

    def _start_worker(self, number: int) -> None:
        if self.world.workers[number].process.is_dead:
            self.world.workers[number] = self.world.make_worker(number)

    def _stop_worker(self, number: int, for_s: float) -> None:
        worker = self.world.workers[number]
        worker.process.stop()
        self._after(for_s, worker.process.resume)

    def _leave_worker(self, number: int, for_s: float) -> None:
        worker = self.world.workers[number]
        if not worker.process.is_dead:
            worker.process.spawn(worker.leave())
            self._after(for_s + 1.0, self._replace_worker, number)

    def _replace_worker(self, number: int) -> None:
        if self.world.workers[number].has_left:
            self.world.workers[number].process.kill()
            self.world.workers[number] = self.world.make_worker(number)

    def _kill_bridge(self, number: int, for_s: float) -> None:
        self.world.bridges[number].process.kill()
        self._after(for_s, self._start_bridge, number)

    def _start_bridge(self, number: int) -> None:
        if self.world.bridges[number].process.is_dead:
            self.world.bridges[number] = self.world.make_bridge(number)

    def _stop_bridge(self, number: int, for_s: float) -> None:
        process = self.world.bridges[number].process
        process.stop()
        self._after(for_s, process.resume)

    def _away(self, which: str, for_s: float) -> None:
        getattr(self.world, which).is_down = True
        self._after(for_s, self._back, which)

    def _back(self, which: str) -> None:
        getattr(self.world, which).is_down = False

    def _trouble(self, which: str, probability: float, for_s: float) -> None:
        getattr(self.world, which).trouble = probability
        self._after(for_s, self._calm, which)

    def _calm(self, which: str) -> None:
        getattr(self.world, which).trouble = 0.0

    def _refuse(self, topic: str, probability: float, for_s: float) -> None:
        self.world.log.refuses = lambda tp, _: topic in tp.topic and self.loop.random.random() < probability
        self._after(for_s, self._take_all)

    def _take_all(self) -> None:
        self.world.log.refuses = lambda tp, records: False

    def _restart_nats(self) -> None:
        self.world.jetstream.restart()
        for bridge in self.world.bridges.values():
            for client in bridge.links.clients:
                client.lose_connection()

    def _lose_stream_tail(self, principal: str, count: int) -> None:
        self.world.has_lost = True
        self.world.jetstream.streams[stream_name(principal)].lose_tail(count)
        self._restart_nats()

    def _lose_log_tail(self, age_s: float) -> None:
        """An older copy of the brokers' disks is put back."""
        world, then_s = self.world, self.loop.time() - age_s
        world.has_lost = world.log_has_lost = True
        world.log.lose_tail(next((lengths for at_s, lengths in reversed(self._lengths) if at_s <= then_s), {}))
        self._away("kafka", 0.3)

    def _make_stream_anew(self, principal: str) -> None:
        self.world.has_lost = True
        self.world.jetstream.make_anew(stream_name(principal))
        self._restart_nats()

    def _answer(self, component: str, what: str, probability: float, for_s: float) -> None:
        error = {
            "away": Away("as told"),
            "busy": Retriable("as told", 1.0),
            "reject": Rejected("as told"),
            "bug": ValueError("as told"),
        }[what]

        def answer() -> None:
            if self.loop.random.random() < probability:
                raise error

        self.world.components[component].answer = answer
        self._after(for_s, self._accept, component)

    def _accept(self, component: str) -> None:
        self.world.components[component].answer = lambda: None

    # -- afterwards ---------------------------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        self._is_healed = True
        self.note("everything works again")
        for which in ("kafka", "nats", "orbit"):
            self._back(which)
            self._calm(which)
        self._take_all()
        for span in self.world.held:
            self._release(span)
        for component in self.world.components:
            self._accept(component)
        for number, worker in self.world.workers.items():
            worker.process.resume()
            if worker.has_left:
                self._replace_worker(number)
            self._start_worker(number)
        for number, bridge in self.world.bridges.items():
            bridge.process.resume()
            self._start_bridge(number)

    async def _wait_in_step(self) -> None:
        until_s, asked, before = self.loop.time() + STEP_S_MAX, set[tuple[str, str]](), None
        while True:
            missing, now = self._missing(asked), (self.world.group.generation, self.world.log.lengths())
            if missing is None and now == before:
                return
            if self.loop.time() > until_s:
                raise Stuck(f"not in step {STEP_S_MAX:g} s after the last fault: {missing}")
            before = now
            await asyncio.sleep(0.5)

    def _missing(self, asked: set[tuple[str, str]]) -> str | None:
        """What is not in step yet. Pairs that a component has refused for good are asked for again, once, as an operator would."""
        world = self.world
        if not all(task.done() for task in self._producing):
            return "publications are not acknowledged"
        uncarried = world.uncarried()
        if uncarried is not None:
            return uncarried
        for partition in world.partitions:
            found = self._missing_of(partition, asked)
            if found is not None:
                return found
        return None

    def _missing_of(self, partition: int, asked: set[tuple[str, str]]) -> str | None:
        world = self.world
        owner = world.owner(partition)
        if owner is None:
            return f"nobody serves partition {partition}"
        actor = owner.partitions.served[partition]
        for topic, position in actor.positions().items():
            end = world.log.partition(TP(topic, partition)).stable
            if position < end:
                return f"{topic}-{partition} is read up to {position} of {end}"
        for artifact, lot in world.lots(partition).items():
            if lot.front and (artifact, lot.front) not in asked:
                asked.add((artifact, lot.front))
                self._order(artifact, "release", lot.front)
            if lot.is_parked:
                return f"{artifact} is parked: {lot}"
        for key, raw in actor.store.scan("artifacts"):
            for component, sync in decode_head(raw).sync.items():
                if sync.state is SyncState.FAILED and (key.decode(), component) not in asked:
                    asked.add((key.decode(), component))
                    self._command(key.decode(), component)
                if sync.state is not SyncState.IN_SYNC:
                    return f"{key.decode()} at {component}: {sync}"
        return None


def run_seed(seed: int, *, faults: bool = True) -> World:
    """One whole run. Raises Failure, which tells everything that is needed to understand it."""
    return _run(make_schedule(seed, faults=faults)).world


def run_troubled_seed(seed: int) -> World:
    """As `run_seed`, of a schedule in which the log is slow to answer, or does not."""
    return _run(make_troubled_schedule(seed)).world


def run_losing_seed(seed: int) -> World:
    """As `run_seed`, of a schedule in which the log loses its tail."""
    return _run(make_losing_schedule(seed)).world


def run_holding_seed(seed: int) -> World:
    """As `run_seed`, of a schedule in which deliveries are held and released."""
    return _run(make_holding_schedule(seed)).world


def run_parking_seed(seed: int) -> World:
    """As `run_seed`, of a schedule in which a policy parks some events. Three entries of a queue are judged in a turn."""
    with patch("agents.release.DRAINED_PER_TURN_MAX", DRAINED_PER_TURN_MAX):
        return _run(make_parking_schedule(seed)).world


def trace_of(seed: int) -> list[str]:
    """What happened, in order."""
    return _run(make_schedule(seed)).trace


def _run(schedule: Schedule) -> Runner:
    gc.disable()  # between runs only: faster, and nothing of a run depends on when it comes
    loop = SimulatedLoop(schedule.seed)
    loop.set_exception_handler(lambda _, context: None)
    with _own_randomness(schedule.seed), _own_log(loop) as recorder:
        runner = recorder.runner = Runner(schedule, loop)
        try:
            loop.run_until_complete(runner.run())
        except Exception as exc:
            told = "\n".join([*runner.trace[-TRACE_MAX:], *runner.bugs[:3]])
            raise Failure(f"{type(exc).__name__}: {exc}\n\n{schedule}\n\n{told}\n\nseed {schedule.seed}") from exc
        finally:
            recorder.runner = None
            loop.bury()
            gc.enable()
    return runner


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Jitter comes from the module `random`, names of consumers and bridges from `uuid4`."""
    before = random.getstate()
    random.seed(seed)
    try:
        with patch("uuid.uuid4", lambda: UUID(int=random.getrandbits(128))):
            yield
    finally:
        random.setstate(before)


@contextmanager
def _own_log(loop: SimulatedLoop) -> Iterator[_Recorder]:
    """Every line goes to the recorder; the limiter of lines goes by the loop's time and has no past."""
    before, recorder, limits = structlog.get_config(), _Recorder(), vars(AWAY).copy()
    structlog.configure(processors=[recorder], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False)
    vars(AWAY).update(vars(Quiet(clock=loop.time)))
    try:
        yield recorder
    finally:
        structlog.configure(**before)
        vars(AWAY).update(limits)


#: Beginnings of lines that no fault may cause.
_BUGS = (
    "partition failed",
    "a stream failed",
    "a stream is stopped",
    "sink actor crashed",
    "a receipt could not",
    "the changelogs of this",
)


class _Recorder:
    """structlog's last processor: lines go into the trace."""

    runner: Runner | None = None

    def __call__(self, _: Any, method: str, event: Any) -> Any:
        if self.runner is not None:
            fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in {"event", "exc_info"})
            line = f"{event['event']} {fields}"
            self.runner.note(f"{method}: {line}")
            if line.startswith(_BUGS):
                self.runner.bugs.append(line + "\n" + "".join(traceback.format_exception(sys.exception())))
        raise structlog.DropEvent
