"""The sink actor against a partition in memory, with a clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agents.hold_watch import HoldWatch
from agents.routing import Routing
from agents.sinks import backlog as backlog_module
from agents.sinks.actor import SinkActor
from agents.sinks.base import Delivery, Result
from streams.errors import Away, Rejected, Retriable
from tables.model import Sync, SyncState
from tests.deliveries import HandClock, Partition, ScriptedSink, routed, settle_down, wait_until
from tests.holding import FakeControl


class Scene:
    """One actor for the component `c`, its sink, and one partition."""

    def __init__(self, **options: Any) -> None:
        self.settings = routed(**options)
        self.routing = Routing(self.settings)
        self.clock = HandClock()
        self.sink = ScriptedSink()
        self.control = FakeControl()
        self.watch = HoldWatch(self.control)
        self.partition = Partition(self.routing, self.clock)
        self.actor = SinkActor(
            "c", self.settings.components["c"], self.sink, self.routing, self.watch, clock=self.clock, jitter=lambda: 0.999
        )
        self.watch.on_change.append(self.actor.holds_changed)
        self.partition.listeners.append(self.actor)

    def sync(self, artifact: str, partition: Partition | None = None) -> Sync:
        head = (partition or self.partition).head(artifact)
        assert head is not None
        return head.sync["c"]

    def in_sync(self, *artifacts: str) -> bool:
        return all(self.sync(artifact).state is SyncState.IN_SYNC for artifact in artifacts)


@asynccontextmanager
async def scene(*, assigned: bool = True, **options: Any) -> AsyncIterator[Scene]:
    made = Scene(**options)
    await made.actor.start()
    if assigned:
        made.actor.assign(made.partition)
    try:
        yield made
    finally:
        await made.actor.aclose()


class TestDelivering:
    async def test_scan_finds_what_is_behind(self) -> None:
        """A partition's pairs that are out of step are found when it is assigned, whoever made them so."""
        async with scene(assigned=False) as s:
            names = [f"chart/a{number:03}" for number in range(300)]
            for name in names:
                s.partition.publish(name, "1.0.0", told=False)
            s.actor.assign(s.partition)
            await wait_until(lambda: s.in_sync(*names))
            assert sorted(d.artifact for d in s.sink.got) == names

    async def test_commit_is_delivered(self) -> None:
        """A head that a commit changed is delivered without a scan, with its idempotency key."""
        async with scene() as s:
            await settle_down()
            scans = s.partition.scans
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.in_sync("chart/a"))
            assert [d.key for d in s.sink.got] == ["chart/a@1/c"]
            assert s.sink.got[0].attributes["smversion"] == "1.0.0"
            assert s.partition.scans == scans

    async def test_what_was_delivered_is_not_read_again_before_a_commit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its receipt is on its way, and nothing else is known to be desired: looking would find nothing."""
        async with scene(mode="every") as s:
            s.partition.holds_receipts = True
            await settle_down()
            read: list[str] = []
            original = s.partition.head
            monkeypatch.setattr(s.partition, "head", lambda artifact: (read.append(artifact), original(artifact))[1])
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: len(s.sink.got) == 1)
            await settle_down()
            assert read == ["chart/a"]

    async def test_every_version_in_order(self) -> None:
        """Mode `every` delivers each version once, in accepted order, each under its own generation."""
        async with scene(mode="every", assigned=False) as s:
            s.partition.publish("chart/a", *[f"{n}.0.0" for n in range(1, 30)], told=False)
            s.actor.assign(s.partition)
            await wait_until(lambda: s.in_sync("chart/a"))
            assert [(d.generation, d.version) for d in s.sink.got] == [(n, f"{n}.0.0") for n in range(1, 30)]
            assert s.sync("chart/a").deliveries == 29

    async def test_every_does_not_wait_for_commits(self) -> None:
        """In mode `every` versions go out one after another although no receipt has been committed yet."""
        async with scene(mode="every") as s:
            s.partition.holds_receipts = True
            s.partition.publish("chart/a", "1.0.0", "2.0.0", "3.0.0")
            await wait_until(lambda: len(s.sink.got) == 3)
            s.partition.commit()
            await settle_down()
            assert s.sink.versions_of("chart/a") == ["1.0.0", "2.0.0", "3.0.0"]
            assert s.in_sync("chart/a")
            assert s.sync("chart/a").deliveries == 3

    async def test_every_skips_moved_versions(self) -> None:
        """A version that was published again is delivered once, where it stands now."""
        async with scene(mode="every", assigned=False) as s:
            s.partition.publish("chart/a", "1.0.0", "2.0.0", "1.0.0", told=False)
            s.actor.assign(s.partition)
            await wait_until(lambda: s.in_sync("chart/a"))
            assert [(d.generation, d.version) for d in s.sink.got] == [(2, "2.0.0"), (3, "1.0.0")]

    async def test_every_ends_at_the_desired_generation(self) -> None:
        """A manual sync of a pair that is behind: each version under its own generation, whatever was desired since, then the newest again."""
        async with scene(mode="every", assigned=False) as s:
            s.partition.publish("chart/a", "1.0.0", "2.0.0", told=False)
            s.partition.sync_now("chart/a")
            s.actor.assign(s.partition)
            await wait_until(lambda: s.in_sync("chart/a"))
            assert [(d.generation, d.version) for d in s.sink.got] == [(1, "1.0.0"), (2, "2.0.0"), (3, "2.0.0")]

    async def test_manual_sync_delivers_again(self) -> None:
        """A manual sync of a pair that is in step delivers the newest version again, under the raised generation."""
        for mode in ("every", "latest"):
            async with scene(mode=mode) as s:
                s.partition.publish("chart/a", "1.0.0")
                await wait_until(lambda: s.in_sync("chart/a"))
                s.partition.sync_now("chart/a")
                await wait_until(lambda: len(s.sink.got) == 2 and s.in_sync("chart/a"))
                assert [d.key for d in s.sink.got] == ["chart/a@1/c", "chart/a@2/c"]

    async def test_latest_supersedes(self) -> None:
        """In mode `latest` what was accepted during an attempt is delivered once, the newest only, and the rest counts as superseded."""
        async with scene() as s:
            answered = asyncio.Event()
            s.sink.answer = lambda _: answered.wait()
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: len(s.sink.calls) == 1)
            s.partition.publish("chart/a", "2.0.0", "3.0.0", "4.0.0")
            answered.set()
            await wait_until(lambda: s.in_sync("chart/a"))
            assert s.sink.versions_of("chart/a") == ["1.0.0", "4.0.0"]
            assert (s.sync("chart/a").deliveries, s.sync("chart/a").superseded) == (2, 2)

    async def test_one_delivery_per_commit_window(self) -> None:
        """In mode `latest` nothing is delivered twice while the receipt waits for its commit, whatever else changes the head."""
        async with scene() as s:
            s.partition.holds_receipts = True
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: len(s.partition.receipts) == 1)
            for _ in range(3):
                s.actor.changed(0, ["chart/a"])
                await settle_down()
            assert len(s.sink.calls) == 1

    async def test_latest_waits_for_its_receipt(self) -> None:
        """In mode `latest` the next generation goes out when the receipt before it is committed: what it covers is known then."""
        async with scene() as s:
            s.partition.holds_receipts = True
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: len(s.partition.receipts) == 1)
            s.partition.publish("chart/a", "2.0.0")
            await settle_down()
            assert len(s.sink.calls) == 1
            s.partition.commit()
            await wait_until(lambda: len(s.sink.calls) == 2)

    async def test_concurrency_is_bounded(self) -> None:
        """Across artifacts as many attempts run as `in_flight_max` times the owned share allows, and no more."""
        async with scene(in_flight_max=8, assigned=False) as s:
            answered = asyncio.Event()
            s.sink.answer = lambda _: answered.wait()
            names = [f"chart/{n}" for n in range(20)]
            for name in names:
                s.partition.publish(name, "1.0.0", told=False)
            s.actor.set_share(1, 2)
            s.actor.assign(s.partition)
            await wait_until(lambda: len(s.sink.under_way) == 4)
            await settle_down()
            assert s.actor.statistics().in_flight == 4
            answered.set()
            await wait_until(lambda: s.in_sync(*names))
            assert s.sink.at_once_max == 4

    async def test_share_is_at_least_one(self) -> None:
        """A worker with few partitions may still attempt one delivery at a time."""
        async with scene(in_flight_max=2) as s:
            s.actor.set_share(1, 64)
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.in_sync("chart/a"))

    async def test_partitions_take_turns(self) -> None:
        """A partition with much to do does not keep another one waiting to its end."""
        async with scene(in_flight_max=1, assigned=False) as s:
            other = Partition(s.routing, s.clock, partition=1)
            other.listeners.append(s.actor)
            for number in range(20):
                s.partition.publish(f"chart/a{number}", "1.0.0", told=False)
            other.publish("chart/z", "1.0.0", told=False)
            s.actor.assign(s.partition)
            s.actor.assign(other)
            await wait_until(lambda: len(s.sink.got) == 21)
            assert "chart/z" in [d.artifact for d in s.sink.got[:3]]


class TestFailing:
    async def test_retry_waits_for_its_backoff(self) -> None:
        """After a temporary failure the artifact is attempted again when its backoff is over, not before; others do not wait."""
        async with scene() as s:
            s.sink.answer = _raises(Retriable("busy"), only="chart/a")
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.sync("chart/a").attempts == 1)
            s.partition.publish("chart/b", "1.0.0")
            await wait_until(lambda: s.in_sync("chart/b"))
            s.sink.answer = lambda _: None
            s.clock.advance(0.9)
            await settle_down()
            assert len(s.sink.calls) == 2
            s.clock.advance(0.2)
            await wait_until(lambda: s.in_sync("chart/a"))

    async def test_retry_waits_for_its_commit(self) -> None:
        """Until a retry's receipt is committed, which says when, the artifact is not attempted again, whatever is told."""
        async with scene() as s:
            s.partition.holds_receipts = True
            s.sink.answer = _raises(Retriable("busy"))
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: len(s.partition.receipts) == 1)
            s.actor.changed(0, ["chart/a"])
            await settle_down()
            assert len(s.sink.calls) == 1

    async def test_retry_after_is_honoured(self) -> None:
        """`Retry-After` is waited for, also when the backoff would be shorter."""
        async with scene() as s:
            s.sink.answer = _raises(Retriable("busy", retry_after_s=40))
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.sync("chart/a").attempts == 1)
            s.sink.answer = lambda _: None
            s.clock.advance(39)
            await settle_down()
            assert len(s.sink.calls) == 1
            s.clock.advance(1.1)
            await wait_until(lambda: s.in_sync("chart/a"))

    async def test_permanent_failure_ends_attempts(self) -> None:
        """A permanent answer gives `failed`; nothing is attempted until a newer version is desired."""
        async with scene() as s:
            s.sink.answer = _raises(Rejected("no such chart"))
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.sync("chart/a").state is SyncState.FAILED)
            s.clock.advance(10_000)
            s.actor.changed(0, ["chart/a"])
            await settle_down()
            assert (len(s.sink.calls), s.sync("chart/a").last_error) == (1, "no such chart")
            s.sink.answer = lambda _: None
            s.partition.publish("chart/a", "2.0.0")
            await wait_until(lambda: s.in_sync("chart/a"))

    async def test_every_stands_at_the_failed_version(self) -> None:
        """In mode `every` a version that failed is tried again when a newer one is desired, before it: order holds."""
        async with scene(mode="every") as s:
            s.sink.answer = _raises(Rejected("no"))
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.sync("chart/a").state is SyncState.FAILED)
            s.sink.answer = lambda _: None
            s.partition.publish("chart/a", "2.0.0")
            await wait_until(lambda: s.in_sync("chart/a"))
            assert s.sink.versions_of("chart/a") == ["1.0.0", "2.0.0"]

    async def test_bug_costs_one_delivery(self) -> None:
        """An error that no sink should raise costs that delivery a retry; other artifacts are delivered."""
        async with scene() as s:
            s.sink.answer = _raises(KeyError("secret-value"), only="chart/a")
            s.partition.publish("chart/a", "1.0.0")
            s.partition.publish("chart/b", "1.0.0")
            await wait_until(lambda: s.in_sync("chart/b") and s.sync("chart/a").attempts == 1)
            assert "KeyError" in s.sync("chart/a").last_error
            assert "secret-value" not in s.sync("chart/a").last_error

    async def test_missing_version_is_retried(self) -> None:
        """A version that the state does not have is no crash: the pair says so and is tried again."""
        async with scene() as s:
            s.partition.publish("chart/a", "1.0.0", told=False)
            s.partition._versions.clear()
            s.actor.changed(0, ["chart/a"])
            await wait_until(lambda: "not in the table" in s.sync("chart/a").last_error)

    async def test_hanging_sink_is_left(self) -> None:
        """A sink that never comes back does not hold its place for ever: the component counts as away."""
        async with scene() as s:
            s.actor._attempt_s_max = 0.02
            s.sink.answer = lambda _: asyncio.Event().wait()
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: "no answer within" in s.sync("chart/a").last_error)
            assert s.actor.statistics().away


class TestComponentAway:
    async def test_costs_one_attempt_per_backoff(self) -> None:
        """While a component is away one attempt per backoff is made and written, however many artifacts wait."""
        async with scene() as s:
            s.sink.answer = _raises(Away("connection refused"))
            names = [f"chart/{n}" for n in range(50)]
            for name in names:
                s.partition.publish(name, "1.0.0")
            await wait_until(lambda: s.actor.statistics().away)
            await settle_down()
            assert (len(s.sink.calls), len(s.partition.receipts)) == (4, 1)
            for probes in range(1, 4):
                s.clock.advance(300)
                await wait_until(lambda probes=probes: len(s.partition.receipts) == 1 + probes)
                await settle_down()
                assert len(s.sink.calls) == 4 + probes

    async def test_all_go_when_it_is_back(self) -> None:
        """The first attempt that reaches the component again lets everything that waits go, backoffs included."""
        async with scene() as s:
            s.sink.answer = _raises(Away("connection refused"))
            names = [f"chart/{n}" for n in range(50)]
            for name in names:
                s.partition.publish(name, "1.0.0")
            for receipts in range(1, 8):
                await wait_until(lambda receipts=receipts: len(s.partition.receipts) == receipts)
                s.clock.advance(200)
            s.sink.answer = lambda _: None
            s.clock.advance(300)
            await wait_until(lambda: s.in_sync(*names))
            assert not s.actor.statistics().away

    async def test_back_means_now(self) -> None:
        """An artifact whose own backoff is not over goes as soon as another one has reached the component."""
        async with scene(in_flight_max=1) as s:
            s.sink.answer = _raises(Away("connection refused"))
            s.partition.publish("chart/a", "1.0.0")
            s.partition.publish("chart/b", "1.0.0")
            await wait_until(lambda: s.sync("chart/a").next_retry_ms > 0)
            s.sink.answer = lambda _: None
            s.clock.advance(0.999)  # the gate opens for a probe; the backoff of chart/a has another millisecond
            await wait_until(lambda: s.in_sync("chart/a", "chart/b"))
            assert [d.artifact for d in s.sink.got] == ["chart/b", "chart/a"]

    async def test_retry_after_closes_for_as_long(self) -> None:
        """A 503 with `Retry-After` keeps the whole component waiting for that time."""
        async with scene() as s:
            s.sink.answer = _raises(Away("HTTP 503", retry_after_s=60))
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.actor.statistics().away)
            s.sink.answer = lambda _: None
            s.partition.publish("chart/b", "1.0.0")
            s.clock.advance(59)
            await settle_down()
            assert len(s.sink.calls) == 1
            s.clock.advance(1.1)
            await wait_until(lambda: s.in_sync("chart/a", "chart/b"))

    async def test_others_never_wait(self) -> None:
        """A component that is away delays no other component."""
        async with scene(components=("c", "d")) as s:
            healthy = ScriptedSink()
            other = SinkActor("d", s.settings.components["d"], healthy, s.routing, s.watch, clock=s.clock)
            s.partition.listeners.append(other)
            await other.start()
            other.assign(s.partition)
            s.sink.answer = _raises(Away("connection refused"))
            for number in range(20):
                s.partition.publish(f"chart/{number}", "1.0.0")
            await wait_until(lambda: len(healthy.got) == 20)
            await other.aclose()

    async def test_overflow_is_scanned(self, monkeypatch: Any) -> None:
        """More changes than are remembered while the component is away are found by a scan when it is back."""
        monkeypatch.setattr(backlog_module, "READY_MAX", 10)
        async with scene() as s:
            s.sink.answer = _raises(Away("connection refused"))
            names = [f"chart/{n}" for n in range(200)]
            for name in names:
                s.partition.publish(name, "1.0.0")
            await wait_until(lambda: s.actor.statistics().away)
            assert s.actor.statistics().known <= 12
            s.sink.answer = lambda _: None
            s.clock.advance(300)
            await wait_until(lambda: s.in_sync(*names))


class TestPartitionsMove:
    async def test_receipts_of_a_revoked_partition_are_dropped(self) -> None:
        """An attempt under way when its partition is revoked is abandoned, and nothing is told about it."""
        async with scene() as s:
            s.sink.answer = lambda _: asyncio.Event().wait()
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.sink.under_way == ["chart/a"])
            s.actor.revoke(0)
            await wait_until(lambda: s.actor.statistics().in_flight == 0)
            s.partition.publish("chart/b", "1.0.0")
            await settle_down()
            assert (s.partition.receipts, s.sink.got) == ([], [])

    async def test_assigned_again_delivers_again(self) -> None:
        """A partition that comes back is brought in step from its state."""
        async with scene() as s:
            s.sink.answer = lambda _: asyncio.Event().wait()
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.sink.under_way == ["chart/a"])
            s.actor.revoke(0)
            s.sink.answer = lambda _: None
            s.actor.assign(s.partition)
            await wait_until(lambda: s.in_sync("chart/a"))

    async def test_assigned_twice(self) -> None:
        """A partition that is assigned anew without having been revoked has its attempts abandoned: never two for one artifact."""
        async with scene() as s:
            s.sink.answer = lambda _: asyncio.Event().wait()
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.sink.under_way == ["chart/a"])
            s.actor.assign(s.partition)
            await wait_until(lambda: len(s.sink.calls) == 2)
            await settle_down()
            assert s.sink.under_way == ["chart/a"]

    async def test_revoked_probe_frees_the_gate(self) -> None:
        """When the probing attempt's partition goes, another artifact probes."""
        async with scene() as s:
            s.sink.answer = _raises(Away("gone"))
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.actor.statistics().away)
            s.sink.answer = lambda _: asyncio.Event().wait()
            s.clock.advance(10)
            await wait_until(lambda: s.sink.under_way == ["chart/a"])
            other = Partition(s.routing, s.clock, partition=1)
            other.listeners.append(s.actor)
            s.sink.answer = lambda _: None
            s.actor.assign(other)
            other.publish("chart/b", "1.0.0")
            s.actor.revoke(0)
            await wait_until(lambda: s.in_sync() and [d.artifact for d in s.sink.got] == ["chart/b"])

    async def test_lost_receipts_are_made_again_after_rescan(self) -> None:
        """When a transaction with receipts was given up, a rescan repeats those deliveries under the same keys."""
        async with scene(mode="every") as s:
            s.partition.holds_receipts = True
            s.partition.publish("chart/a", "1.0.0", "2.0.0")
            await wait_until(lambda: len(s.partition.receipts) == 2)
            s.partition.lose_receipts()
            s.partition.holds_receipts = False
            s.actor.rescan(0)
            await wait_until(lambda: s.in_sync("chart/a"))
            assert [d.generation for d in s.sink.got] == [1, 2, 1, 2]

    async def test_unconfirmed_receipts_are_made_again(self) -> None:
        """A receipt that no commit confirms in time counts as lost, and the delivery is repeated."""
        async with scene() as s:
            s.partition.holds_receipts = True
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: len(s.partition.receipts) == 1)
            s.partition.lose_receipts()
            s.partition.holds_receipts = False
            await settle_down()
            s.clock.advance(backlog_module.CONFIRM_MS_MAX / 1000 + 1)
            await wait_until(lambda: s.in_sync("chart/a"))
            assert [d.key for d in s.sink.got] == ["chart/a@1/c"] * 2


class TestSupervision:
    async def test_crash_starts_over(self) -> None:
        """When the actor itself crashes it starts again, with a backoff, and finds its work by a scan."""
        async with scene() as s:
            await settle_down()
            s.partition.broken = True
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.actor.statistics().restarts == 1)
            s.partition.broken = False
            s.clock.advance(61)
            await wait_until(lambda: s.in_sync("chart/a"))

    async def test_failing_mailbox_is_no_crash(self) -> None:
        """A receipt that cannot be handed over neither ends the actor nor makes it deliver in a circle."""
        async with scene() as s:
            receive = s.partition.receive
            s.partition.receive = _broken
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: len(s.sink.got) == 1)
            await settle_down()
            s.partition.receive = receive
            s.partition.publish("chart/b", "1.0.0")
            await wait_until(lambda: s.in_sync("chart/b"))
            assert s.sink.versions_of("chart/a") == ["1.0.0"]

    async def test_aclose_closes_the_sink(self) -> None:
        """Closing ends attempts under way and closes the sink."""
        async with scene() as s:
            s.sink.answer = lambda _: asyncio.Event().wait()
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.sink.under_way == ["chart/a"])
        assert s.sink.closed
        assert s.sink.under_way == []
        assert all(receipt.result is not Result.DELIVERED for receipt in s.partition.receipts)


def _raises(error: Exception, only: str = "") -> Any:
    def answer(delivery: Delivery) -> None:
        if only in {"", delivery.artifact}:
            raise error

    return answer


async def _broken(_: object) -> None:
    raise RuntimeError("the mailbox is broken")
