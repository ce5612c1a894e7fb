"""The bridge when something dies, pauses or is not what it was: nothing lost, order kept, and the operator told."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from structlog.testing import capture_logs

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from streams.bridge_lease import Holder
from streams.nats_cell import Cell
from streams.nats_streams import LEASES, stream_name
from streams.settings import Settings
from streams.topic_admin import administering, ensure_topics
from streams.topics import Topics
from tests.bridge_process import BridgeProcess, bridge_process
from tests.bridging import (
    bridge_running,
    bridge_settings,
    event,
    eventually,
    ingresses,
    publish,
    read_events,
    stored_checkpoint,
    wait_taken,
)
from tests.brokers import connected
from tests.checkers import check_first_occurrences_in_stream_order, check_nothing_missing

pytestmark = pytest.mark.connected

STREAM = stream_name("c24")
ADMIN = "syncmaster-bridge"


@pytest.fixture(name="settings")
def _settings(orbit_settings: Settings, fresh_nats: NatsServer, kafka: Kafka, topic_prefix: str) -> Settings:
    """Small pulls: many rounds, so that faults meet every step of one."""
    return bridge_settings(orbit_settings, fresh_nats, kafka, topic_prefix, pull_messages_max=50)


async def wait_stored(admin: Client, sequence: int, timeout_s: float = 30.0, stream: str = STREAM) -> None:
    async def there() -> bool:
        checkpoint = await stored_checkpoint(admin, stream)
        return checkpoint is not None and checkpoint.sequence >= sequence

    await eventually(there, timeout_s)


async def check_log(settings: Settings, admin: Client, last: int, first: int = 1) -> None:
    log = ingresses(await read_events(settings))
    checkpoint = await stored_checkpoint(admin, STREAM)
    assert checkpoint is not None
    check_nothing_missing(log, STREAM, checkpoint.incarnation, range(first, last + 1))
    check_first_occurrences_in_stream_order(log)


async def test_kill_9_at_any_moment_loses_nothing(settings: Settings, fresh_nats: NatsServer, tmp_path: Path) -> None:
    """Three bridges die in the middle; the log has exactly the published set, first occurrences in order."""
    async with connected(fresh_nats, settings, "c24") as client, connected(fresh_nats, settings, ADMIN) as admin:
        with bridge_process(settings, tmp_path):
            await wait_stored(admin, 0)
        await publish(client, "c24", (event(number) for number in range(4000)))
        for target in (1, 900, 1800):
            with bridge_process(settings, tmp_path):
                await wait_stored(admin, target)
        with bridge_process(settings, tmp_path):
            await wait_stored(admin, 4000)
        await check_log(settings, admin, 4000)


async def test_cancellation_at_any_await_loses_nothing(settings: Settings, fresh_nats: NatsServer) -> None:
    """A bridge that is stopped after a random time, ten times; the seed is in the failure."""
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    async with connected(fresh_nats, settings, "c24") as client, connected(fresh_nats, settings, ADMIN) as admin:
        async with bridge_running(settings) as bridge:
            await wait_taken(bridge, "c24", 0)
        await publish(client, "c24", (event(number) for number in range(3000)))
        for _ in range(10):
            async with bridge_running(settings):
                await asyncio.sleep(dice.uniform(0.0, 0.4))
        async with bridge_running(settings) as bridge:
            await wait_taken(bridge, "c24", 3000)
            await wait_stored(admin, 3000)
        try:
            await check_log(settings, admin, 3000)
        except AssertionError as exc:
            raise AssertionError(f"seed {seed}: {exc}") from exc


async def test_survives_restarts_of_kafka_and_nats_quietly(
    settings: Settings, fresh_nats: NatsServer, kafka: Kafka, tmp_path: Path
) -> None:
    """Each is away for a while and comes back; nothing is lost, and there is at most one line per 10 s about what is away."""
    async with (
        connected(fresh_nats, settings, "c24") as client,
        connected(fresh_nats, settings, ADMIN) as admin,
    ):
        with bridge_process(settings, tmp_path) as bridge:
            await wait_stored(admin, 0)
            await publish(client, "c24", (event(number) for number in range(500)))
            await wait_stored(admin, 100)
            away_s = await _while_kafka_is_away(kafka, publish(client, "c24", (event(number) for number in range(500, 1500))))
            await wait_stored(admin, 1500)
            lines_about_kafka = [line for line in bridge.lines() if line["level"] in ("warning", "error")]
            assert len(lines_about_kafka) <= 2 + away_s / 10, lines_about_kafka
            fresh_nats.kill9()
            await asyncio.sleep(3)
            fresh_nats.start()
            await eventually(lambda: _is_up(client))
            await publish(client, "c24", (event(number) for number in range(1500, 2000)))
            await wait_stored(admin, 2000)
            lines = [line for line in bridge.lines() if line["level"] in ("warning", "error")]
            assert len(lines) - len(lines_about_kafka) <= 2, lines[len(lines_about_kafka) :]
        await check_log(settings, admin, 2000)


async def _while_kafka_is_away(kafka: Kafka, work: Any) -> float:
    began = time.monotonic()
    await asyncio.to_thread(kafka.stop)
    await work
    await asyncio.sleep(6)
    await asyncio.to_thread(kafka.start)
    return time.monotonic() - began


async def _is_up(client: Client) -> bool:
    return bool(client.is_connected)


async def test_a_second_bridge_takes_over_within_10_s_and_the_paused_one_harms_nothing(
    settings: Settings, fresh_nats: NatsServer, tmp_path: Path
) -> None:
    """With the lease as it ships. The first is stopped while it sends, the second goes on, the first wakes up and lets go."""
    settings = settings.model_copy(update={"bridge": settings.bridge.model_copy(update={"lease_ttl_s": 6.0})})
    async with connected(fresh_nats, settings, "c24") as client, connected(fresh_nats, settings, ADMIN) as admin:
        with bridge_process(settings, tmp_path, "one") as one:
            await wait_stored(admin, 0)
            with bridge_process(settings, tmp_path, "two") as two:
                publishing = asyncio.create_task(publish(client, "c24", (event(number) for number in range(3000))))
                await wait_stored(admin, 200)
                one.signal(signal.SIGSTOP)
                stopped_at = time.monotonic()
                holder = await _holder(admin)
                await publishing
                await eventually(lambda: _has_other_holder(admin, holder), 10)
                await wait_stored(admin, 3000)
                assert time.monotonic() - stopped_at < 10
                one.signal(signal.SIGCONT)
                await eventually(lambda: _lets_go(one))
                await publish(client, "c24", (event(number) for number in range(3000, 3500)))
                await wait_stored(admin, 3500)
                assert any(line["event"] == "serving" and line["stream"] == STREAM for line in two.lines())
        await check_log(settings, admin, 3500)


async def _holder(admin: Client) -> str:
    import msgspec

    value = (await Cell(admin, LEASES, STREAM).read()).value
    return msgspec.json.decode(value, type=Holder).instance if value else ""


async def _has_other_holder(admin: Client, than: str) -> bool:
    return await _holder(admin) not in ("", than)


async def _lets_go(bridge: BridgeProcess) -> bool:
    return any(line["event"].startswith("another bridge") for line in bridge.lines())


async def test_a_gap_stops_its_stream_with_an_alert_and_no_other(settings: Settings, fresh_nats: NatsServer) -> None:
    """Deleted messages that the log does not have are told to the operator, with the next step; c4 goes on."""
    async with (
        connected(fresh_nats, settings, "c24") as client,
        connected(fresh_nats, settings, "c4") as other,
        connected(fresh_nats, settings, ADMIN) as admin,
    ):
        async with bridge_running(settings) as bridge:
            await wait_taken(bridge, "c24", 0)
            await publish(client, "c24", [event(number) for number in range(10)])
            await wait_taken(bridge, "c24", 10)
        await publish(client, "c24", [event(number) for number in range(10)])
        await admin.jetstream().delete_msg(STREAM, 12)
        with capture_logs() as lines:
            async with bridge_running(settings) as bridge:
                await eventually(lambda: _alerted(lines, "misses the sequences 12 to 12"))
                await publish(other, "c4", [event(number) for number in range(10)])
                await wait_taken(bridge, "c4", 10)
        assert any(f"nats kv del sm_bridge {STREAM}" in str(line.get("error")) for line in lines)
        checkpoint = await stored_checkpoint(admin, STREAM)
        assert checkpoint is not None
        assert checkpoint.sequence < 12


async def _alerted(lines: list[Any], text: str) -> bool:
    return any(text in f"{line['event']} {line.get('error')}" for line in lines if line["log_level"] == "error")


async def test_a_stream_made_anew_gets_a_new_incarnation(settings: Settings, fresh_nats: NatsServer) -> None:
    """Somebody deletes the stream under a running bridge: it is made again, and its sequences are not taken for the old ones."""
    async with connected(fresh_nats, settings, "c24") as client, connected(fresh_nats, settings, ADMIN) as admin:
        with capture_logs() as lines:
            async with bridge_running(settings) as bridge:
                await wait_taken(bridge, "c24", 0)
                await publish(client, "c24", [event(number) for number in range(10)])
                await wait_stored(admin, 10)
                old = await stored_checkpoint(admin, STREAM)
                await admin.jetstream().delete_stream(STREAM)
                await eventually(lambda: _alerted(lines, "a new incarnation begins"), 30)
                await publish(client, "c24", [event(number) for number in range(5)])

                async def taken() -> bool:
                    checkpoint = await stored_checkpoint(admin, STREAM)
                    return bool(old and checkpoint and checkpoint.incarnation > old.incarnation and checkpoint.sequence == 5)

                await eventually(taken)
        new = await stored_checkpoint(admin, STREAM)
    assert old
    assert new
    log = ingresses(await read_events(settings))
    check_nothing_missing(log, STREAM, old.incarnation, range(1, 11))
    check_nothing_missing(log, STREAM, new.incarnation, range(1, 6))
    check_first_occurrences_in_stream_order(log)


async def test_a_log_that_lost_its_tail_is_filled_again(settings: Settings, fresh_nats: NatsServer) -> None:
    """The log ends before what the checkpoint counts on: the bridge sends again what the stream still holds."""
    async with connected(fresh_nats, settings, "c24") as client, connected(fresh_nats, settings, ADMIN) as admin:
        async with bridge_running(settings) as bridge:
            await wait_taken(bridge, "c24", 0)
            await publish(client, "c24", [event(number) for number in range(100)])
            await wait_stored(admin, 100)
        await _empty_the_topic(settings)
        with capture_logs() as lines:
            async with bridge_running(settings) as bridge:
                await eventually(lambda: _alerted(lines, "[events] lost its tail"))
                await publish(client, "c24", [event(number) for number in range(100, 150)])
                await wait_taken(bridge, "c24", 150)
                await wait_stored(admin, 150)
        await check_log(settings, admin, 150)


async def _empty_the_topic(settings: Settings) -> None:
    """Delete [events] and make it again: it ends at 0."""
    topic = Topics(settings.kafka.topic_prefix).events
    async with administering(settings.kafka.bootstrap) as admin:
        await admin.delete_topics([topic])

        async def gone() -> bool:
            return topic not in await admin.list_topics()

        await eventually(gone)
    await ensure_topics(settings)


async def test_a_disk_set_back_is_noticed_by_the_log(settings: Settings, fresh_nats: NatsServer, tmp_path: Path) -> None:
    """Stream and checkpoint lose the same tail and agree; the messages that then get its sequences are not taken for the old ones."""
    disk, backup = tmp_path / "nats" / "jetstream", tmp_path / "backup"
    await _carry(settings, fresh_nats, range(10), last=10)
    fresh_nats.stop()
    shutil.copytree(disk, backup)
    fresh_nats.start()
    await _carry(settings, fresh_nats, range(10, 20), last=20)
    fresh_nats.stop()
    shutil.rmtree(disk)
    shutil.copytree(backup, disk)
    fresh_nats.start()
    with capture_logs() as lines:
        await _carry(settings, fresh_nats, range(20, 25), last=15)
    assert await _alerted(lines, "lost its tail: the log has it up to sequence 20")
    log = ingresses(await read_events(settings))
    incarnations = sorted({ingress.incarnation for found in log.values() for ingress in found})
    assert len(incarnations) == 2
    check_nothing_missing(log, STREAM, incarnations[0], range(1, 21))
    check_nothing_missing(log, STREAM, incarnations[1], range(1, 16))
    check_first_occurrences_in_stream_order(log)


async def _carry(settings: Settings, fresh_nats: NatsServer, numbers: range, last: int) -> None:
    """Publish with the bridge away, then have it carry everything and write its checkpoint."""
    async with connected(fresh_nats, settings, "c24") as client, connected(fresh_nats, settings, ADMIN) as admin:
        if numbers.start == 0:
            async with bridge_running(settings) as bridge:
                await wait_taken(bridge, "c24", 0)
        await publish(client, "c24", [event(number) for number in numbers])
        async with bridge_running(settings) as bridge:
            await wait_taken(bridge, "c24", last)
            await wait_stored(admin, last)
