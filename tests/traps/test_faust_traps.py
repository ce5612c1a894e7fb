"""What Faust does to those who trust it does not happen to us. Each test is named after the trap it steps into."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agents.worker import SyncApp
from gateway.local.kafka import Kafka
from streams.chunk_transport import FETCH_WAIT_MS, ChunkThread
from tests.events import chart_event, record
from tests.traps.workers import commit_group_offsets, has_reached, read_audit, running, settings_for, wait_until, write_events

pytestmark = pytest.mark.connected


def _events(count: int, artifacts: int = 20) -> list[Any]:
    return [record(n, chart_event(f"c{n % artifacts}", f"1.0.{n // artifacts}")) for n in range(count)]


async def test_work_resumes_from_the_marker_not_from_the_groups_committed_offset(
    kafka: Kafka, tmp_path: Path, topic_prefix: str
) -> None:
    """The group says that everything is done, the state says that nothing is: everything is done, once."""
    settings = settings_for(tmp_path, kafka.bootstrap, topic_prefix)
    ends = await write_events(settings, _events(100))
    await commit_group_offsets(settings, ends)
    async with running(settings) as app:
        await wait_until(has_reached(app, ends), "all events are in the state")

    assert Counter(record.outcome.value for record in await read_audit(settings)) == {"accepted": 100}


async def test_acks_thrown_away_at_revoke_repeat_nothing(
    kafka: Kafka, tmp_path: Path, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one offset reaches the group; the next worker, with an empty disk, goes on behind the last transaction all the same."""

    async def never(*_: Any) -> bool:
        return False

    monkeypatch.setattr(ChunkThread, "commit", never)
    settings = settings_for(tmp_path, kafka.bootstrap, topic_prefix, data_dir=str(tmp_path / "one"))
    events = _events(100)
    ends = await write_events(settings, events[:60])
    async with running(settings) as app:
        await wait_until(has_reached(app, ends), "the first events are in the state")
    ends = await write_events(settings, events[60:])
    async with running(settings_for(tmp_path, kafka.bootstrap, topic_prefix, data_dir=str(tmp_path / "two"))) as app:
        await wait_until(has_reached(app, ends), "the other events are in the state")
        turns = {p: actor.store.marker() for p, actor in app.partitions.served.items()}

    audit = await read_audit(settings)
    assert Counter(record.outcome.value for record in audit) == {"accepted": 100}
    assert sum(marker.audit_seq for marker in turns.values()) == len(audit)


async def test_one_stuck_actor_does_not_stop_the_others(kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
    """A partition whose transactions hang fills its own mailbox; the other one takes everything that it has."""
    settings = settings_for(tmp_path, kafka.bootstrap, topic_prefix, chunk_records_max=10, mailbox_chunks_max=2)
    released = asyncio.Event()

    def hang_partition_0(app: SyncApp) -> None:
        make = app._make_writer

        def make_writer(transactional_id: str) -> Any:
            writer = make(transactional_id)
            if transactional_id.endswith(".0"):
                writer._before_produce = lambda number: released.wait()
            return writer

        app._make_writer = make_writer  # type: ignore[method-assign]

    ends = await write_events(settings, _events(2000, artifacts=200))
    async with running(settings, hang_partition_0) as app:
        await wait_until(has_reached(app, {1: ends[1]}), "the healthy partition is done")
        assert app.partitions.served[0].marker.events == 0
        released.set()
        await wait_until(has_reached(app, ends), "the stuck one goes on where it was")

    assert Counter(record.outcome.value for record in await read_audit(settings)) == {"accepted": 2000}


async def test_the_consumer_waits_a_moment_not_a_second_and_a_half(kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
    """Faust hard-codes a fetch wait of 1,500 ms and reads uncommitted records; ours does neither, and leaves changelogs alone."""
    settings = settings_for(tmp_path, kafka.bootstrap, topic_prefix)
    await write_events(settings, _events(2))
    async with running(settings) as app:
        consumer = app.consumer._thread._ensure_consumer()
        await wait_until(lambda: len(app.partitions.served) == 2, "both partitions are served")
        paused = {tp.topic for tp in consumer.paused()}

        assert (consumer._fetch_max_wait_ms, consumer._isolation_level) == (FETCH_WAIT_MS, "read_committed")
        assert paused == set(app.tables.changelog_topics)


async def test_a_worker_that_is_stopped_leaves_the_group_at_once(kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
    """The next worker has its partitions without waiting for a session to time out: its first rebalance gives it everything."""
    settings = settings_for(tmp_path / "one", kafka.bootstrap, topic_prefix)
    ends = await write_events(settings, _events(20))
    async with running(settings) as app:
        await wait_until(has_reached(app, ends), "the first worker is at work")
    async with running(settings_for(tmp_path / "two", kafka.bootstrap, topic_prefix)) as app:
        await wait_until(lambda: len(app.partitions.served) == 2, "the second serves both", timeout_s=5.5)
        assert app.partitions.served[0].marker.events == ends[0]


async def test_a_generation_that_is_over_is_told_by_the_group(kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
    """A worker that was away for longer than its session does not take itself for the owner: the group is asked, not the clock."""
    settings = settings_for(tmp_path, kafka.bootstrap, topic_prefix)
    await write_events(settings, _events(2))
    async with running(settings) as app:
        await wait_until(lambda: len(app.partitions.served) == 2, "both partitions are served")
        assert await app.consumer.is_member()
        app.consumer._thread._ensure_consumer()._coordinator.generation -= 1
        assert not await app.consumer.is_member()
