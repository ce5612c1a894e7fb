"""The whole way of events while the brokers under it come and go: nothing is lost, and nobody fills the disk with complaints about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.local.kafka import Kafka
from gateway.local.process import Child
from tests.checkers import check_everything
from tests.harness import WITH_LOG_READER, Cluster
from tests.loads import CHARTS, OPERATOR, mixed

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

EVENTS = 3000
AWAY_S = 6.0
#: While something is away, a process writes at most one line per 10 s about it; and a few when it goes and when it is back.
LINES_MAX = 2 + AWAY_S / 10


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> AsyncIterator[Cluster]:
    components = ("c8-portal", "c12-manifestor")
    async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix, components=components, changes=WITH_LOG_READER) as cluster:
        yield cluster


async def test_restarts_of_nats_and_of_kafka_under_load_lose_nothing_and_are_told_in_few_lines(cluster: Cluster) -> None:
    """Each broker is killed under load, is away for seconds and comes back: everything ends as without, and logs stay short."""
    publishing = asyncio.gather(
        cluster.publish(CHARTS, mixed(3, EVENTS * 2 // 3, 100, source="urn:a"), per_s_max=300),
        cluster.publish(OPERATOR, mixed(4, EVENTS // 3, 100, source="urn:b"), per_s_max=150),
    )
    for broker in (cluster.nats, cluster.kafka):
        await asyncio.sleep(1.0)  # some load in between
        before = {child.name: len(warnings_of(child)) for child in cluster.children()}
        await asyncio.to_thread(broker.kill9)
        await asyncio.sleep(AWAY_S)
        for child in cluster.children():
            told = warnings_of(child)[before[child.name] :]
            assert len(told) <= LINES_MAX, f"{child.name} wrote {len(told)} lines in {AWAY_S:g} s: {told}"
        assert all(child.running for child in cluster.children()), "a process gave up"
        await asyncio.to_thread(broker.start)
    sent = [each for of_principal in await publishing for each in of_principal]
    await cluster.settled(sent)
    await check_everything(cluster, sent)


def warnings_of(child: Child) -> list[str]:
    """The lines of its log that are no information."""
    lines = [line for line in child.output().splitlines() if line.strip()]
    return [line for line in lines if not line.startswith("{") or json.loads(line).get("level") not in ("info", None)]
