"""Brings one component in step with the partitions of this worker. One supervised actor per component; none waits for another.

The state is the queue: `backlog.py` knows where to look in it, `gate.py` whether the component is there at all, `hold_watch.py` whether
anything may begin, and this file only starts attempts, within the component's limit, and sends what became of them to the artifact
actor as receipts. So nothing has to be handed over when a partition moves, when this actor crashes, when a component has been down
for a day, or when everything was held for a week.

Per artifact one attempt after another; across artifacts as many as `in_flight_max` allows, of which a worker takes its share.
Everything here runs on one event loop, and all methods but `start` and `aclose` return at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

import msgspec
import structlog

from agents.backoff import Backoff
from agents.hold_watch import HoldWatch
from agents.routing import Routing
from agents.sinks.attempt import Attempt, attempt
from agents.sinks.backlog import Backlog, Due
from agents.sinks.base import Held, PartitionView, Sink
from agents.sinks.clock import Clock, SystemClock
from agents.sinks.gate import Gate
from streams.errors import Away
from streams.logs import AWAY
from streams.settings import Component, LogSink

log = structlog.get_logger(__name__)

#: A sink keeps its own time-out; this is for one that does not come back at all.
_HANG_S = 5.0
_RESTART = Backoff(1.0, 60.0)
#: While a component is away, it is asked at least this often whether it is back.
PROBE_S_MAX = 15.0
_STABLE_MS = 60_000
#: How often it looks whether it is known again what is held.
_LOOK_S = 0.1


class Statistics(msgspec.Struct, frozen=True):
    """Of one actor, now. `known` counts artifacts that wait here for an attempt; the state may have more."""

    component: str
    partitions: int
    in_flight: int
    in_flight_max: int
    known: int
    held: int
    scanning: bool
    away: bool
    last_error: str
    restarts: int


class SinkActor:
    def __init__(
        self,
        name: str,
        component: Component,
        sink: Sink,
        routing: Routing,
        watch: HoldWatch,
        *,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._component = component
        self._sink = sink
        self._routing = routing
        self._watch = watch
        self._clock = clock or SystemClock()
        probes = Backoff(component.backoff_s_min, min(component.backoff_s_max, PROBE_S_MAX), jitter)
        self._gate = Gate(probes, component.backoff_s_max)
        self._in_flight_max = component.in_flight_max
        self._attempt_s_max = _HANG_S + (0.0 if isinstance(component.sink, LogSink) else component.sink.timeout_s)
        self._backlogs: dict[int, Backlog] = {}  # in the order of their turns
        self._attempts: dict[asyncio.Task[None], int] = {}
        self._news = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._restarts = 0
        self._last_error = ""

    async def start(self) -> None:
        self._supervisor = asyncio.create_task(self._supervise(), name=f"sink {self.name}")

    async def aclose(self) -> None:
        tasks = [*self._attempts, *filter(None, [self._supervisor])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sink.aclose()

    def assign(self, view: PartitionView) -> None:
        """The partition is recovered and ours: find what is out of step in it."""
        self.revoke(view.partition)
        self._backlogs[view.partition] = Backlog(view, self.name, self._routing, self._watch)
        self._news.set()

    def leave(self, partition: int) -> set[asyncio.Task[None]]:
        """Nothing new begins for the partition; those under way may end, and their receipts count. Returns them."""
        self._backlogs.pop(partition, None)
        return {task for task, of_partition in self._attempts.items() if of_partition == partition}

    def revoke(self, partition: int) -> None:
        """The partition is no longer ours: attempts under way are abandoned, and no receipt of theirs is sent."""
        self._backlogs.pop(partition, None)
        for task, of_partition in self._attempts.items():
            if of_partition == partition:
                task.cancel()

    def changed(self, partition: int, artifacts: Iterable[str]) -> None:
        """A commit has changed these heads."""
        backlog = self._backlogs.get(partition)
        if backlog is not None:
            backlog.changed(artifacts)
            self._news.set()

    def rescan(self, partition: int) -> None:
        """Receipts of the partition may have been lost, with a transaction that was given up: start over from the state."""
        backlog = self._backlogs.get(partition)
        if backlog is not None:
            backlog.rescan()
            self._news.set()

    def holds_changed(self) -> None:
        """Other holds than before are in effect."""
        for backlog in self._backlogs.values():
            backlog.holds_changed()
        self._news.set()

    def set_share(self, owned: int, total: int) -> None:
        """This worker owns so many of all partitions, and may use as much of the component's limit; one attempt at least."""
        self._in_flight_max = max(1, self._component.in_flight_max * owned // max(total, 1))
        self._news.set()

    def statistics(self) -> Statistics:
        return Statistics(
            component=self.name,
            partitions=len(self._backlogs),
            in_flight=len(self._attempts),
            in_flight_max=self._in_flight_max,
            known=sum(map(len, self._backlogs.values())),
            held=sum(backlog.held for backlog in self._backlogs.values()),
            scanning=any(backlog.is_scanning for backlog in self._backlogs.values()),
            away=not self._gate.is_open,
            last_error=self._last_error,
            restarts=self._restarts,
        )

    async def _supervise(self) -> None:
        failures = 0
        while True:
            started_ms = self._clock.now_ms()
            try:
                await self._run()
            except Exception:
                failures = 1 if self._clock.now_ms() - started_ms > _STABLE_MS else failures + 1
                self._restarts += 1
                delay_s = _RESTART.delay_ms(failures) / 1000
                log.exception("sink actor crashed; it starts over from the state", component=self.name, delay_s=delay_s)
                await self._clock.wait(asyncio.Event(), delay_s)
                for backlog in self._backlogs.values():
                    backlog.rescan()

    async def _run(self) -> None:
        while True:
            self._news.clear()
            if self._launch():
                await asyncio.sleep(0)
            else:
                await self._clock.wait(self._news, self._idle_s())

    def _launch(self) -> bool:
        """Begin whatever may begin now. True if there is more to look at, after a breath for the others on the loop."""
        now_ms = self._clock.now_ms()
        while len(self._attempts) < self._in_flight_max and self._gate.admits(now_ms) and self._watch.is_current():
            found = self._take(now_ms)
            if found is None:
                return any(backlog.has_more for backlog in self._backlogs.values())
            self._begin(*found)
        return False

    def _take(self, now_ms: int) -> tuple[Backlog, Due] | None:
        for partition, backlog in list(self._backlogs.items()):
            due = backlog.take(now_ms)
            if due is not None:
                self._backlogs[partition] = self._backlogs.pop(partition)  # its next turn is after all others'
                return backlog, due
        return None

    def _idle_s(self) -> float | None:
        """Until the gate admits a probe or the next backoff is over; None: until there is news."""
        if len(self._attempts) >= self._in_flight_max:
            return None
        if not self._watch.is_current():
            return _LOOK_S
        now_ms = self._clock.now_ms()
        times = [due for backlog in self._backlogs.values() if (due := backlog.due_ms()) is not None]
        closed_until_ms = self._gate.closed_until_ms
        if closed_until_ms is not None and (not self._gate.admits(now_ms)):
            times = [closed_until_ms] if closed_until_ms > now_ms else []
        return max(min(times) - now_ms, 1) / 1000 if times else None

    def _begin(self, backlog: Backlog, due: Due) -> None:
        task = asyncio.create_task(self._attempt(backlog, due, self._gate.enter()), name=f"deliver {due.artifact} to {self.name}")
        self._attempts[task] = backlog.view.partition
        task.add_done_callback(self._ended)

    def _require_start(self, artifact: str) -> None:
        """Asked again right before the first byte: the process may have stood still since, or connecting may have taken its time."""
        if not self._watch.is_current() or self._watch.holds.blocks(artifact, self.name) is not None:
            raise Held

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._attempts[task]
        self._news.set()

    async def _attempt(self, backlog: Backlog, due: Due, permit: int) -> None:
        receipt = None
        try:
            done = await attempt(self.name, self._sink, backlog.view, due, self._require_start, timeout_s=self._attempt_s_max)
            if done is not None and self._pass_gate(permit, done):
                receipt = done.receipt(self._clock.now_ms())
                await backlog.view.receive(receipt)
        except Exception:  # the receipt counts as lost: the backlog looks again when no commit has confirmed it
            log.exception("a receipt could not be handed over", component=self.name, artifact=due.artifact)
        finally:
            self._gate.abandoned(permit)
            backlog.finished(due, receipt, self._clock.now_ms())

    def _pass_gate(self, permit: int, done: Attempt) -> bool:
        """Tell the gate how it went. False if there is nothing to tell the state: another attempt tells that the component is away."""
        self._last_error = done.error_text or self._last_error
        if isinstance(done.error, Away):
            if self._gate.is_open:
                AWAY.warning(
                    log,
                    f"component {self.name}",
                    "component is away; its deliveries wait",
                    component=self.name,
                    error=done.error_text,
                )
            return self._gate.away(permit, self._clock.now_ms(), done.error.retry_after_s)
        if done.was_answered and self._gate.reached():
            log.info("component is back", component=self.name)
            for backlog in self._backlogs.values():
                backlog.hurry()
        return True
