"""The sink actor under holds: what begins, what waits, and what comes of it after the release."""

from __future__ import annotations

import asyncio

from agents.sinks import backlog as backlog_module
from agents.sinks.base import Delivery, before_first_byte
from tests.deliveries import settle_down, wait_until
from tests.unit.delivery.test_sink_actor import scene


class TestHolds:
    async def test_what_is_held_waits(self) -> None:
        """No attempt begins for a held artifact; others go on; after the release it is brought in step by itself."""
        async with scene() as s:
            hold = s.control.hold("chart/a")
            s.partition.publish("chart/a", "1.0.0", "2.0.0")
            s.partition.publish("chart/b", "1.0.0")
            await wait_until(lambda: s.in_sync("chart/b"))
            assert s.sink.versions_of("chart/a") == []
            s.control.release(hold)
            await wait_until(lambda: s.in_sync("chart/a"))
            assert s.sink.versions_of("chart/a") == ["2.0.0"]

    async def test_order_survives_a_hold(self) -> None:
        """In mode `every` what was accepted during a hold goes out after the release, each version, in order."""
        async with scene(mode="every") as s:
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.in_sync("chart/a"))
            hold = s.control.hold(component="c")
            for number in range(2, 9):
                s.partition.publish("chart/a", f"{number}.0.0")
            await settle_down()
            assert s.sink.versions_of("chart/a") == ["1.0.0"]
            s.control.release(hold)
            await wait_until(lambda: s.in_sync("chart/a"))
            assert s.sink.versions_of("chart/a") == [f"{number}.0.0" for number in range(1, 9)]

    async def test_attempts_under_way_finish(self) -> None:
        """An attempt that has begun goes on under a hold, and its receipt counts."""
        async with scene() as s:
            answered = asyncio.Event()
            s.sink.answer = lambda _: answered.wait()
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: len(s.sink.calls) == 1)
            s.control.hold()
            answered.set()
            await wait_until(lambda: s.in_sync("chart/a"))

    async def test_a_manual_sync_waits_too(self) -> None:
        """Sync now of a held artifact is delivered after the release, under its own generation."""
        async with scene() as s:
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: s.in_sync("chart/a"))
            hold = s.control.hold("chart/*")
            s.partition.sync_now("chart/a")
            await settle_down()
            assert len(s.sink.got) == 1
            s.control.release(hold)
            await wait_until(lambda: len(s.sink.got) == 2 and s.in_sync("chart/a"))

    async def test_what_waits_is_in_order_with_other_holds(self) -> None:
        """A release lets go only of what no other hold stops."""
        async with scene() as s:
            everything, one = s.control.hold(), s.control.hold("chart/a")
            s.partition.publish("chart/a", "1.0.0")
            s.partition.publish("chart/b", "1.0.0")
            s.control.release(everything)
            await wait_until(lambda: s.in_sync("chart/b"))
            assert not s.in_sync("chart/a")
            assert s.actor.statistics().held == 1
            s.control.release(one)
            await wait_until(lambda: s.in_sync("chart/a"))

    async def test_more_than_is_remembered(self) -> None:
        """What is held beyond what is remembered is found by a scan after the release."""
        before, backlog_module.HELD_MAX = backlog_module.HELD_MAX, 10
        try:
            async with scene() as s:
                hold = s.control.hold("chart/*")
                names = [f"chart/{number}" for number in range(50)]
                for name in names:
                    s.partition.publish(name, "1.0.0")
                await settle_down()
                assert s.actor.statistics().held == 10
                s.control.release(hold)
                await wait_until(lambda: s.in_sync(*names))
        finally:
            backlog_module.HELD_MAX = before

    async def test_waiting_costs_nothing(self) -> None:
        """While everything is held the actor sleeps: it looks at nothing again and again."""
        async with scene() as s:
            s.control.hold()
            for number in range(20):
                s.partition.publish(f"chart/{number}", "1.0.0")
            await settle_down()
            reads, head = [], s.partition.head
            s.partition.head = lambda artifact: reads.append(artifact) or head(artifact)  # type: ignore[func-returns-value,method-assign]
            s.clock.advance(3600)
            await settle_down()
            assert reads == []


class TestLease:
    async def test_nothing_begins_without_the_lease(self) -> None:
        """While it is not known what is held nothing begins; as soon as it is, everything does."""
        async with scene() as s:
            s.control.is_known = False
            s.partition.publish("chart/a", "1.0.0")
            await settle_down()
            assert s.sink.calls == []
            s.control.is_known = True
            s.clock.advance(0.2)
            await wait_until(lambda: s.in_sync("chart/a"))

    async def test_asked_again_before_the_first_byte(self) -> None:
        """A sink that was connecting when the hold came sends nothing, nothing is told, and the delivery is made after the release."""
        async with scene() as s:
            connected = asyncio.Event()

            async def connect(_: Delivery) -> None:
                await connected.wait()
                before_first_byte.get()()

            s.sink.answer = connect
            s.partition.publish("chart/a", "1.0.0")
            await wait_until(lambda: len(s.sink.calls) == 1)
            hold = s.control.hold("chart/a")
            connected.set()
            await settle_down()
            assert (s.sink.got, s.partition.receipts) == ([], [])
            s.control.release(hold)
            await wait_until(lambda: s.in_sync("chart/a"))
            assert s.sync("chart/a").attempts == 0

    async def test_a_task_that_slept_past_the_lease_does_not_begin(self) -> None:
        """An attempt whose process stood still between its start and its first line is not made."""
        async with scene() as s:
            s.partition.publish("chart/a", "1.0.0")
            s.actor._launch()  # the task exists, and has not run yet
            s.control.is_known = False
            await settle_down()
            assert s.sink.calls == []
