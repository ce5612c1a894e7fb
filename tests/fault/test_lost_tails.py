"""What had been acknowledged is gone all the same: the log's disk is put back to an older state, or a stream is made anew.

The end is the same as without; and where something cannot be known any more, somebody is told.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.local.kafka import Kafka
from gateway.local.process import Child
from streams.command_log import CommandLog
from streams.commands import Command
from streams.ingress import Ingress
from streams.nats_streams import stream_name
from streams.partition import partition_of
from streams.topics import Topics
from tests.brokers import connected
from tests.checkers import (
    check_everything,
    check_first_occurrences_in_stream_order,
    check_no_loss,
)
from tests.harness import Cluster, Sent, eventually
from tests.loads import CHARTS, OPERATOR, versions_of
from tests.readings import Readings, ingress_of

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

CHARTS_COUNT, VERSIONS = 60, 5


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, own_kafka: Kafka, topic_prefix: str) -> AsyncIterator[Cluster]:
    components = ("c20-chart-store",)
    async with Cluster(tmp_path, own_kafka, topic_prefix=topic_prefix, gateway=False, components=components) as cluster:
        yield cluster


@pytest.fixture(name="two_workers")
async def _two_workers(tmp_path: Path, own_kafka: Kafka, topic_prefix: str) -> AsyncIterator[Cluster]:
    components = ("c20-chart-store",)
    async with Cluster(
        tmp_path, own_kafka, topic_prefix=topic_prefix, workers=2, gateway=False, components=components
    ) as cluster:
        yield cluster


async def test_a_log_put_back_to_an_older_copy_is_filled_again_from_the_streams(cluster: Cluster) -> None:
    """The broker's whole directory is an older copy: the bridge sends again what the log lost, and everything ends as without."""
    sent = await published(cluster, "before")
    copy = await copied(cluster)
    sent += await published(cluster, "lost")
    await put_back(cluster, lambda data: restored(copy, data))
    sent += await published(cluster, "after")
    await read_anew(cluster)
    await cluster.settled(sent)
    assert alerts(cluster.bridges[0], "lost its tail")
    await check_everything(cluster, sent)


@pytest.mark.parametrize("first", [CHARTS, OPERATOR], ids=["by_whom_it_was", "by_somebody_else"])
async def test_a_truncated_partition_of_events_is_filled_again_and_read_to_the_end(cluster: Cluster, first: str) -> None:
    """One partition of [events] loses its tail, and new events take its place: no event is lost, none counts twice."""
    sent = await published(cluster, "before")
    copy = await copied(cluster)
    sent += await published(cluster, "kept")
    events = f"{Topics(cluster.settings.kafka.topic_prefix).events}-0"
    await put_back(cluster, lambda data: restored(copy / events, data / events))
    sent += await cluster.publish(first, versions_of(CHARTS_COUNT, VERSIONS, prefix="new", source="urn:new"))
    sent += await published(cluster, "after")
    await read_anew(cluster)
    await cluster.settled(sent)
    assert alerts(cluster.bridges[0], "lost its tail")
    await check_everything(cluster, sent, replay=False)


async def test_a_partition_that_lost_its_tail_and_has_grown_again_is_read_from_where_it_differs(cluster: Cluster) -> None:
    """The same while the worker is away: when it is back the log is longer than its marker, and holds other events there."""
    sent = await published(cluster, "before")
    copy = await copied(cluster)
    sent += await published(cluster, "kept")
    await asyncio.to_thread(cluster.workers[0].stop)
    events = f"{Topics(cluster.settings.kafka.topic_prefix).events}-0"
    await put_back(cluster, lambda data: restored(copy / events, data / events))
    sent += await cluster.publish(OPERATOR, versions_of(CHARTS_COUNT, VERSIONS * 2, prefix="new", source="urn:new"))
    await in_the_log(cluster, sent)
    cluster.workers[0].start()
    await cluster.settled(sent)
    await check_everything(cluster, sent, replay=False)


async def test_changelogs_that_lost_their_tails_alone_are_made_up_for_or_told(cluster: Cluster) -> None:
    """Heads that went back without their versions come forward again; versions that are gone without their heads are told, with their partition."""
    sent = await published(cluster, "before")
    copy = await copied(cluster)
    sent += await published(cluster, "again")
    topics = Topics(cluster.settings.kafka.topic_prefix)
    heads_of_0, versions_of_1 = f"{topics.changelog('artifacts')}-0", f"{topics.changelog('versions')}-1"
    await put_back(cluster, lambda data: [restored(copy / name, data / name) for name in (heads_of_0, versions_of_1)])
    sent += await published_after(cluster, sent)
    assert {json.loads(line)["partition"] for line in alerts(cluster.workers[0], "do not belong together")} == {0, 1}
    check_first_occurrences_in_stream_order(logged(cluster.readings))
    check_no_loss(sent, cluster.readings)
    heads = cluster.readings.heads()
    assert {heads[f"chart/{prefix}-{number}"].accepted for prefix in ("before", "again") for number in range(CHARTS_COUNT)} == {
        VERSIONS
    }


async def test_a_stream_that_was_made_anew_begins_a_new_incarnation(cluster: Cluster) -> None:
    """The stream is deleted and its sequences begin at 1 again: nothing new is taken for a repetition, and the operator is told."""
    sent = await published(cluster, "before")
    user = cluster.settings.nats.bridge_user
    async with connected(cluster.nats, cluster.settings, user) as client:
        await client.jetstream().delete_stream(stream_name(CHARTS))
    again = await published(cluster, "anew")
    assert again[0].at.sequence <= len(sent), "the sequences did not begin anew"
    assert alerts(cluster.bridges[0], "a new incarnation begins")
    await check_everything(cluster, sent + again)


async def test_a_store_that_was_away_when_the_log_went_back_is_made_anew(two_workers: Cluster) -> None:
    """A worker is away while the log loses its tail and grows past where its stores were: it does not go on from there."""
    cluster = two_workers
    sent = await published(cluster, "before")
    copy = await copied(cluster)
    sent += await published(cluster, "lost")
    away, other = cluster.workers
    await asyncio.to_thread(away.stop)
    await put_back(cluster, lambda data: restored(copy, data))
    sent += await published_after(cluster, sent)
    await asyncio.to_thread(other.stop)
    shutil.rmtree(cluster.store_directory(1))
    away.start()
    sent += await published(cluster, "last")
    assert "store contradicts its changelog" in away.output()
    await check_everything(cluster, sent)


async def test_commands_that_took_the_place_of_lost_ones_beneath_a_worker_are_carried_out(cluster: Cluster) -> None:
    """A paused worker sees nothing of a tail that is lost and grown over; when it goes on, no offset is out of range, and no command is missed."""
    kafka = cluster.settings.kafka
    topic = f"{Topics(kafka.topic_prefix).commands}-{partition_of(b'chart/any', kafka.partitions)}"
    await carried_out(cluster, await given(cluster, "before", 3))
    copy = await copied(cluster)
    await carried_out(cluster, await given(cluster, "lost", 4))
    cluster.workers[0].pause()
    await put_back(cluster, lambda data: restored(copy / topic, data / topic))
    after = await given(cluster, "after", 6)
    cluster.workers[0].resume()
    await carried_out(cluster, after)


async def given(cluster: Cluster, name: str, count: int) -> list[str]:
    """By a producer of their own: the log refuses one whose records it has lost."""
    commands, ids = CommandLog(cluster.settings.kafka), [f"{name}-{number}" for number in range(count)]
    try:
        await commands.append([("chart/any", Command(ident, "sync", "operator", 0, reason="a test")) for ident in ids])
    finally:
        await commands.aclose()
    return ids


async def carried_out(cluster: Cluster, ids: list[str]) -> None:
    """Until the audit has each of them, once."""

    async def are() -> bool:
        await cluster.readings.update()
        told = [entry.record.command for entry in cluster.readings.audited() if entry.record.command in ids]
        return sorted(told) == sorted(ids)

    await eventually(are, 30, every_s=0.2)


async def in_the_log(cluster: Cluster, sent: list[Sent]) -> None:
    """Until the bridge has brought all of it there, whatever was there before."""
    wanted = {(each.at.stream, each.at.sequence) for each in sent}

    async def there() -> bool:
        await read_anew(cluster)
        await cluster.readings.update()
        found = (ingress_of(record) for records in cluster.readings.events.values() for record in records)
        return wanted <= {(ingress.stream, ingress.sequence) for ingress in found}

    try:
        await eventually(there, 30, every_s=0.5)
    except TimeoutError:
        raise AssertionError(f"the log does not have everything again:\n{cluster.bridges[0].output()}") from None


# -- losing things -----------------------------------------------------------------------------------------------------------------


async def published(cluster: Cluster, prefix: str) -> list[Sent]:
    """A few hundred events, and everything settled."""
    sent = await cluster.publish(CHARTS, versions_of(CHARTS_COUNT, VERSIONS, prefix=prefix))
    await cluster.settled(sent)
    return sent


async def published_after(cluster: Cluster, sent: list[Sent]) -> list[Sent]:
    """The same, when what was read before may not be there any more."""
    after = await cluster.publish(CHARTS, versions_of(CHARTS_COUNT, VERSIONS, prefix="after"))
    await read_anew(cluster)
    await cluster.settled(sent + after)
    return after


def logged(readings: Readings) -> dict[int, list[Ingress]]:
    return {partition: [ingress_of(record) for record in records] for partition, records in readings.events.items()}


async def copied(cluster: Cluster) -> Path:
    """A copy of the broker's data as it is now; the broker is stopped for it, so that the copy is whole."""
    await asyncio.to_thread(cluster.kafka.stop)
    copy = cluster.directory / "copy-of-the-log"
    shutil.copytree(data_directory(cluster), copy)
    await asyncio.to_thread(cluster.kafka.start)
    return copy


async def put_back(cluster: Cluster, change: Callable[[Path], object]) -> None:
    await asyncio.to_thread(cluster.kafka.kill9)
    change(data_directory(cluster))
    await asyncio.to_thread(cluster.kafka.start)


def restored(source: Path, target: Path) -> None:
    shutil.rmtree(target)
    shutil.copytree(source, target)


def data_directory(cluster: Cluster) -> Path:
    return cluster.kafka._directory / "data"


async def read_anew(cluster: Cluster) -> None:
    """What was read before may not be there any more."""
    await cluster.readings.aclose()
    cluster.readings = Readings(cluster.settings)
    await cluster.readings.start()


def alerts(child: Child, text: str) -> list[str]:
    """The errors in its log that say so."""
    lines = [line for line in child.output().splitlines() if text in line and line.startswith("{")]
    return [line for line in lines if json.loads(line)["level"] == "error"]
