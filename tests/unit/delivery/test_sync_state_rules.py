"""The rules of the pair's state machine, one by one; any order of everything is in tests/property/test_sync_state.py."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agents.backoff import Backoff
from agents.routing import Target
from agents.sinks.base import Receipt, Result
from agents.sync_state import Deliver, Nothing, Wait, apply_event, desire, next_step, receive, retarget, settle
from tables.model import Head, Provenance, Sync, SyncState

BACKOFF = Backoff(0.5, 300.0, lambda: 1.0)
IN_SYNC = Sync(desired=3, delivered=3, version="3", state=SyncState.IN_SYNC, since_ms=10, deliveries=2, superseded=1)
BEHIND = desire(IN_SYNC, generation=5, version="5", now_ms=20)


def receipt(generation: int, result: Result = Result.DELIVERED, **fields: object) -> Receipt:
    return Receipt("chart/a", "c", generation, str(generation), result, 0, **fields)  # type: ignore[arg-type]


def head(**fields: object) -> Head:
    cause = Provenance("e", "s", "t", "p", "s", (1, 1, 0), 0, "test")
    return Head(**({"version": "2.0.0", "digest": None, "generation": 7, "provenance": cause} | fields))  # type: ignore[arg-type]


class TestDesire:
    def test_first(self) -> None:
        """A new pair starts behind with nothing delivered."""
        assert desire(None, generation=4, version="v", now_ms=9) == Sync(desired=4, version="v", since_ms=9, pending=1)

    def test_behind_since(self) -> None:
        """A pair that is behind already keeps the time since which it is; one that was in sync starts to count now."""
        assert BEHIND.since_ms == 20
        assert desire(BEHIND, generation=6, version="6", now_ms=30).since_ms == 20

    def test_attempts_begin_anew(self) -> None:
        """In mode `latest` a newer generation forgets the older one's attempts and backoff."""
        tried = replace(BEHIND, attempts=7, next_retry_ms=99, last_error="e")
        newer = desire(tried, generation=6, version="6", now_ms=30)
        assert (newer.attempts, newer.next_retry_ms, newer.last_error, newer.pending) == (0, 0, "", 2)

    def test_every_keeps_backoff(self) -> None:
        """In mode `every` the version under way keeps its backoff when a newer one comes, unless an operator asks."""
        tried = replace(BEHIND, attempts=7, next_retry_ms=99)
        assert desire(tried, generation=6, version="6", now_ms=30, mode="every").next_retry_ms == 99
        assert desire(tried, generation=6, version="6", now_ms=30, mode="every", command="c1").next_retry_ms == 0

    @pytest.mark.parametrize("mode", ["latest", "every"])
    def test_failed_is_opened(self, mode: str) -> None:
        """A failed pair is behind again with a newer generation, and out of step since it left in_sync."""
        failed = replace(BEHIND, state=SyncState.FAILED, attempts=1, last_error="no")
        opened = desire(failed, generation=6, version="6", now_ms=30, mode=mode)  # type: ignore[arg-type]
        assert (opened.state, opened.since_ms, opened.last_error) == (SyncState.BEHIND, 20, "")

    def test_repetition(self) -> None:
        """A generation that is desired already changes nothing."""
        assert desire(BEHIND, generation=5, version="x", now_ms=30) is BEHIND

    def test_command_is_remembered(self) -> None:
        """The last manual sync of the pair stays named when events follow."""
        asked = desire(BEHIND, generation=6, version="5", now_ms=30, command="c1")
        assert desire(asked, generation=7, version="7", now_ms=40).command == "c1"


class TestReceive:
    def test_delivered(self) -> None:
        """The desired generation delivered brings the pair in sync and supersedes the others that were pending."""
        behind = desire(BEHIND, generation=6, version="6", now_ms=30)
        verdict = receive(behind, receipt(6, covers=2, after=3), backoff=BACKOFF, now_ms=50)
        assert (verdict.outcome, verdict.superseded, verdict.attempts) == ("delivered", 1, 1)
        assert verdict.sync == replace(IN_SYNC, desired=6, delivered=6, version="6", since_ms=50, deliveries=3, superseded=2)

    def test_older_delivered(self) -> None:
        """A receipt for an older generation raises `delivered` and leaves the newer one to be delivered."""
        behind = desire(BEHIND, generation=6, version="6", now_ms=30)
        verdict = receive(behind, receipt(5, covers=1, after=3), backoff=BACKOFF, now_ms=50)
        assert verdict.sync is not None
        assert (verdict.sync.delivered, verdict.sync.state, verdict.sync.pending) == (5, SyncState.BEHIND, 1)

    @pytest.mark.parametrize("result", list(Result))
    def test_repetition(self, result: Result) -> None:
        """A receipt for what is delivered changes nothing, whatever it says."""
        assert receive(IN_SYNC, receipt(3, result), backoff=BACKOFF, now_ms=50).outcome == "stale"

    @pytest.mark.parametrize("result", [Result.RETRY, Result.FAILED])
    def test_older_trouble(self, result: Result) -> None:
        """In mode `latest` a retry or failure of an older generation changes nothing."""
        behind = desire(BEHIND, generation=6, version="6", now_ms=30)
        assert receive(behind, receipt(5, result), backoff=BACKOFF, now_ms=50).sync is None

    def test_ended_pair(self) -> None:
        """A receipt for a pair that has ended is stale."""
        assert receive(None, receipt(3), backoff=BACKOFF, now_ms=50).outcome == "stale"

    def test_lost_predecessor(self) -> None:
        """A receipt that rests on a delivery whose own receipt got lost does not count."""
        assert receive(BEHIND, receipt(5, after=4), backoff=BACKOFF, now_ms=50).outcome == "stale"

    def test_overlapping_receipts(self) -> None:
        """A receipt whose generation an overlapping one has settled changes nothing: no generation is counted twice."""
        behind = replace(BEHIND, desired=8, pending=1, delivered=6)
        assert receive(behind, receipt(7, covers=4, after=3), backoff=BACKOFF, now_ms=50).outcome == "stale"

    def test_retry(self) -> None:
        """A retry counts the attempt, keeps the error's first 200 characters and sets the next attempt."""
        verdict = receive(BEHIND, receipt(5, Result.RETRY, error="x" * 999), backoff=BACKOFF, now_ms=50)
        assert verdict.sync == replace(BEHIND, attempts=1, next_retry_ms=550, last_error="x" * 200)
        assert receive(verdict.sync, receipt(5, Result.RETRY), backoff=BACKOFF, now_ms=1000).sync.next_retry_ms == 2000  # type: ignore[union-attr]

    def test_retry_after(self) -> None:
        """`Retry-After` is a minimum, bounded by the component's longest backoff."""
        for wish_s, waited_ms in ((0.1, 500), (90, 90_000), (86_400, 300_000)):
            verdict = receive(BEHIND, receipt(5, Result.RETRY, retry_after_s=wish_s), backoff=BACKOFF, now_ms=0)
            assert verdict.sync is not None
            assert verdict.sync.next_retry_ms == waited_ms

    def test_failed(self) -> None:
        """A permanent answer gives `failed`; a later receipt for the same generation is not another outcome."""
        verdict = receive(BEHIND, receipt(5, Result.FAILED, error="no"), backoff=BACKOFF, now_ms=50)
        assert verdict.sync is not None
        assert (verdict.outcome, verdict.sync.state, verdict.sync.last_error) == ("failed", SyncState.FAILED, "no")
        assert receive(verdict.sync, receipt(5), backoff=BACKOFF, now_ms=60).outcome == "stale"

    def test_every_failed_version(self) -> None:
        """In mode `every` an older version's failure fails the pair: it stands there."""
        behind = desire(BEHIND, generation=6, version="6", now_ms=30, mode="every")
        verdict = receive(behind, receipt(5, Result.FAILED, after=3), backoff=BACKOFF, now_ms=50, mode="every")
        assert verdict.sync is not None
        assert (verdict.sync.state, verdict.sync.delivered) == (SyncState.FAILED, 3)


class TestNextStep:
    def test_steps(self) -> None:
        """Behind: deliver, or wait for the backoff's end. In sync or failed: nothing."""
        assert next_step(BEHIND, 0) == Deliver()
        assert next_step(replace(BEHIND, next_retry_ms=99), 98) == Wait(99)
        assert next_step(replace(BEHIND, next_retry_ms=99), 99) == Deliver()
        assert next_step(IN_SYNC, 0) == next_step(replace(BEHIND, state=SyncState.FAILED), 0) == Nothing()


class TestApplyEvent:
    def test_each_target_desires_it(self) -> None:
        """An accepted event is desired by each target; pairs of other components stay as they are, and so does the dictionary given."""
        syncs = {"c": IN_SYNC, "z": IN_SYNC}
        result = apply_event(syncs, [Target("c"), Target("d", "every")], 8, "8", "8", 30)
        assert (result["c"].desired, result["d"].desired, result["z"]) == (8, 8, IN_SYNC)
        assert syncs == {"c": IN_SYNC, "z": IN_SYNC}

    def test_semver_ignores_older(self) -> None:
        """With `newest: semver` an event about an older version is not desired; one about the newest is, also repeated."""
        target = [Target("c", newest="semver")]
        syncs = {"c": replace(IN_SYNC, version="2.0.0")}
        assert apply_event(syncs, target, 8, "1.9.9", "2.0.0", 30)["c"] is syncs["c"]
        assert apply_event(syncs, target, 8, "2.0.0", "2.0.0", 30)["c"].desired == 8
        assert apply_event(syncs, target, 8, "3.0.0", "3.0.0", 30)["c"].version == "3.0.0"

    def test_semver_newest_deleted(self) -> None:
        """When the newest version is deleted, the one that is newest now is desired."""
        syncs = {"c": replace(IN_SYNC, version="2.0.0")}
        result = apply_event(syncs, [Target("c", newest="semver")], 8, "2.0.0", "1.0.0", 30)
        assert (result["c"].version, result["c"].desired) == ("1.0.0", 8)

    def test_every_takes_all(self) -> None:
        """In mode `every` each version is desired, whichever is newest."""
        syncs = {"c": replace(IN_SYNC, version="2.0.0")}
        assert apply_event(syncs, [Target("c", "every", "semver")], 8, "1.0.0", "2.0.0", 30)["c"].desired == 8

    def test_log_target_is_in_step(self) -> None:
        """A log target is in step at once: its record is in the same transaction."""
        sync = apply_event({}, [Target("c", sink_type="log")], 8, "8", "8", 30)["c"]
        assert (sync.state, sync.delivered, sync.deliveries, sync.pending) == (SyncState.IN_SYNC, 8, 1, 0)


class TestRetarget:
    def test_new_component(self) -> None:
        """A component newly routed starts behind at a raised generation, with the newest version by its rule."""
        was = head(newest="3.0.0", sync={"c": replace(IN_SYNC, version="2.0.0")})
        now = retarget(was, [Target("c"), Target("d", newest="semver"), Target("e", "every")], now_ms=5)
        assert now is not None
        assert now.generation == 8
        assert (now.sync["d"].desired, now.sync["d"].delivered, now.sync["d"].version) == (8, 0, "3.0.0")
        assert (now.sync["e"].desired, now.sync["e"].delivered) == (8, 0)
        assert now.sync["c"] is was.sync["c"]

    def test_removed_component(self) -> None:
        """A component that is no longer routed leaves the head, and no generation is raised for it."""
        now = retarget(head(sync={"c": BEHIND}), [], now_ms=5)
        assert now is not None
        assert (now.sync, now.generation) == ({}, 7)

    def test_nothing_to_do(self) -> None:
        """A head that the routes leave as it is is not written again."""
        assert retarget(head(sync={"c": replace(IN_SYNC, version="2.0.0")}), [Target("c")], now_ms=5) is None

    def test_rule_changed(self) -> None:
        """When the rule says that another version is newest, that one is desired."""
        was = head(newest="3.0.0", sync={"c": replace(IN_SYNC, version="2.0.0")})
        now = retarget(was, [Target("c", newest="semver")], now_ms=5)
        assert now is not None
        assert (now.sync["c"].version, now.sync["c"].desired) == ("3.0.0", 8)

    def test_settle(self) -> None:
        """A log target that was behind is settled by its record: all that was pending but one is superseded."""
        assert settle(replace(BEHIND, pending=3), now_ms=9) == replace(
            IN_SYNC, desired=5, delivered=5, version="5", since_ms=9, deliveries=3, superseded=3
        )
