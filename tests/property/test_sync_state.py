"""The pair's state machine against a model: any order of events, attempts, crashes, repeated and reordered receipts."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agents.backoff import Backoff
from agents.sinks.base import Receipt, Result
from agents.sync_state import Deliver, desire, next_step, receive
from tables.model import Sync, SyncState

BACKOFF = Backoff(0.5, 300.0, lambda: 0.5)


class Pair(RuleBasedStateMachine):
    """One artifact's generations, one component, and a mailbox that repeats, reorders and loses receipts."""

    mode = "latest"

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0
        self.now_ms = 0
        self.sync: Sync | None = None
        self.desired: list[int] = []
        self.receipts: list[Receipt] = []
        self.outcomes: dict[int, str] = {}
        self.held: list[int] = []  # what the component got, in order, repetitions included

    @rule(skipped=st.integers(0, 2))
    def event(self, skipped: int) -> None:
        self.generation += 1 + skipped  # generations that other components' syncs raised
        self.desired.append(self.generation)
        self.sync = desire(
            self.sync, generation=self.generation, version=f"v{self.generation}", now_ms=self.now_ms, mode=self.mode
        )

    @precondition(lambda self: self.sync is not None)
    @rule(result=st.sampled_from(Result), elapsed_ms=st.integers(0, 400_000))
    def attempt(self, result: Result, elapsed_ms: int) -> None:
        self.now_ms += elapsed_ms
        assert self.sync is not None
        if isinstance(next_step(self.sync, self.now_ms), Deliver):
            generation, covers = self.plan(self.sync)
            if result is Result.DELIVERED:
                self.held.append(generation)
            self.receipts.append(
                Receipt("chart/a", "c", generation, "", result, self.now_ms, covers, self.sync.delivered, error="e" * 500)
            )

    def plan(self, sync: Sync) -> tuple[int, int]:
        return sync.desired, sync.pending

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), repeated=st.booleans())
    def arrive(self, data: st.DataObject, repeated: bool) -> None:
        index = data.draw(st.integers(0, len(self.receipts) - 1))
        receipt = self.receipts[index] if repeated else self.receipts.pop(index)
        assert self.sync is not None
        verdict = receive(self.sync, receipt, backoff=BACKOFF, now_ms=self.now_ms, mode=self.mode)
        assert (verdict.sync is None) == (verdict.outcome == "stale")
        if verdict.sync is None:
            return
        if verdict.outcome != "retry":
            self.settle(receipt.generation, verdict.outcome)
        assert verdict.superseded == verdict.sync.superseded - self.sync.superseded >= 0
        self.sync = verdict.sync

    def settle(self, generation: int, outcome: str) -> None:
        assert generation not in self.outcomes
        self.outcomes[generation] = outcome

    @rule()
    def crash(self) -> None:
        self.receipts.clear()

    @invariant()
    def delivered_is_never_beyond_desired(self) -> None:
        if self.sync is not None:
            assert self.sync.delivered <= self.sync.desired
            assert (self.sync.state is SyncState.IN_SYNC) == (self.sync.delivered >= self.sync.desired)
            assert (self.sync.pending == 0) == (self.sync.state is SyncState.IN_SYNC)
            assert len(self.sync.last_error) <= 200

    @invariant()
    def each_desired_generation_is_counted_once(self) -> None:
        if self.sync is not None and self.mode == "latest":
            assert self.sync.deliveries + self.sync.superseded + self.sync.pending == len(self.desired)

    def teardown(self) -> None:
        """From any state, one new generation and working attempts bring the pair in sync."""
        self.event(0)
        for _ in range(len(self.desired)):
            self.now_ms += 300_001
            assert self.sync is not None
            if isinstance(next_step(self.sync, self.now_ms), Deliver):
                self.receipts.clear()
                self.attempt(Result.DELIVERED, 0)
                receipt = self.receipts.pop()
                self.sync = receive(self.sync, receipt, backoff=BACKOFF, now_ms=self.now_ms, mode=self.mode).sync
        assert self.sync is not None
        assert self.sync.state is SyncState.IN_SYNC
        self.each_desired_generation_is_counted_once()


class EveryPair(Pair):
    """Mode `every`: the version after `delivered` is the one that is attempted."""

    mode = "every"

    def plan(self, sync: Sync) -> tuple[int, int]:
        return next(g for g in self.desired if g > sync.delivered), 1

    def settle(self, generation: int, outcome: str) -> None:
        """A failed version is tried again when a newer one is desired, so it may have failures and then one delivery."""
        assert self.outcomes.get(generation) != "delivered"
        self.outcomes[generation] = outcome

    @invariant()
    def versions_arrive_in_order_without_holes(self) -> None:
        first_times = list(dict.fromkeys(self.held))
        assert first_times == self.desired[: len(first_times)]

    @invariant()
    def what_is_delivered_has_all_before_it_delivered(self) -> None:
        if self.sync is not None:
            delivered = [g for g in self.desired if g <= self.sync.delivered]
            assert all(self.outcomes.get(g) == "delivered" for g in delivered)


settings.register_profile("pair", max_examples=150, stateful_step_count=40, deadline=None)
TestLatestPair = Pair.TestCase
TestLatestPair.settings = settings.get_profile("pair")
TestEveryPair = EveryPair.TestCase
TestEveryPair.settings = settings.get_profile("pair")
