"""Any run of a sink actor: events, manual syncs, faults, lost receipts, moves of the partition. At the end everything is in step."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.hold_watch import HoldWatch
from agents.routing import Mode, Routing
from agents.sinks.actor import SinkActor
from agents.sinks.base import Delivery
from streams.errors import Away, Rejected, Retriable
from tables.model import SyncState
from tests.deliveries import HandClock, Partition, ScriptedSink, routed, settle_down
from tests.holding import FakeControl

ARTIFACTS = ("chart/a", "chart/b", "chart/c")
ANSWERS: dict[str, type[Exception] | None] = {"ok": None, "retry": Retriable, "away": Away, "reject": Rejected, "bug": ValueError}

steps = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(ARTIFACTS), st.integers(1, 4)),
    st.tuples(st.just("sync"), st.sampled_from(ARTIFACTS), st.none()),
    st.tuples(st.just("answer"), st.sampled_from(sorted(ANSWERS)), st.none()),
    st.tuples(st.just("hold"), st.booleans(), st.none()),
    st.tuples(st.sampled_from(["commit", "abort", "move", "settle"]), st.none(), st.none()),
    st.tuples(st.just("advance"), st.sampled_from([0.5, 5.0, 400.0]), st.none()),
)


class Run:
    def __init__(self, mode: Mode) -> None:
        configured = routed(mode, in_flight_max=2)
        self.clock = HandClock()
        self.sink = ScriptedSink()
        self.control = FakeControl()
        self.partition = Partition(Routing(configured), self.clock)
        self.actor = SinkActor(
            "c",
            configured.components["c"],
            self.sink,
            Routing(configured),
            HoldWatch(self.control),
            clock=self.clock,
            jitter=lambda: 0.999,
        )
        self.partition.listeners.append(self.actor)
        self.published: dict[str, list[str]] = {}
        self.sink.answer = self._answer
        self._error: type[Exception] | None = None

    async def _answer(self, _: Delivery) -> None:
        await asyncio.sleep(0)
        if self._error is not None:
            raise self._error("as told")

    async def step(self, what: str, which: Any, count: Any) -> None:
        match what:
            case "publish":
                versions = self.published.setdefault(which, [])
                added = [f"{len(versions) + number}.0.0" for number in range(count)]
                versions += added
                self.partition.publish(which, *added)
            case "sync" if which in self.published:
                self.partition.sync_now(which)
            case "answer":
                self._error = ANSWERS[which]
            case "hold":
                self.partition.holds_receipts = which
            case "commit":
                self.partition.commit()
            case "abort":
                self.partition.lose_receipts()
                self.actor.rescan(0)
            case "move":
                self.actor.revoke(0)
                self.partition.lose_receipts()
                self.actor.assign(self.partition)
            case "advance":
                self.clock.advance(which)
            case "settle":
                await settle_down()

    async def heal(self) -> None:
        """Everything works again, and each artifact is asked for once more, which is what opens a failed pair."""
        self._error, self.partition.holds_receipts = None, False
        self.partition.commit()
        for artifact in self.published:
            self.partition.sync_now(artifact)
        for _ in range(4):
            self.clock.advance(400)
            await settle_down()


async def run(mode: Mode, script: list[tuple[str, Any, Any]]) -> Run:
    made = Run(mode)
    await made.actor.start()
    made.actor.assign(made.partition)
    try:
        for step in script:
            await made.step(*step)
        await made.heal()
    finally:
        await made.actor.aclose()
    return made


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25))
def test_latest(script: list[tuple[str, Any, Any]]) -> None:
    """In mode `latest` the component ends with the newest version of each artifact, and every desired generation is counted once."""
    made = asyncio.run(run("latest", script))
    for artifact, versions in made.published.items():
        head = made.partition.head(artifact)
        assert head is not None
        sync = head.sync["c"]
        assert sync.state is SyncState.IN_SYNC
        assert made.sink.versions_of(artifact)[-1] == versions[-1]
        assert sync.deliveries + sync.superseded == head.generation


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25))
def test_every(script: list[tuple[str, Any, Any]]) -> None:
    """In mode `every` the component has got every version of each artifact, for the first time in order and without holes."""
    made = asyncio.run(run("every", script))
    for artifact, versions in made.published.items():
        head = made.partition.head(artifact)
        assert head is not None
        assert head.sync["c"].state is SyncState.IN_SYNC
        assert list(dict.fromkeys(made.sink.versions_of(artifact))) == versions
