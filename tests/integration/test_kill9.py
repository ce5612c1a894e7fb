"""kill -9 of each process in the middle of an import: the same end as without, nothing lost, nothing counted twice, one chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.local.kafka import Kafka
from gateway.local.process import Child
from tests.checkers import check_everything
from tests.harness import WITH_LOG_READER, Cluster, eventually
from tests.loads import CHARTS, OPERATOR, mixed

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

EVENTS = 4000
CHARTS_COUNT = 150


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> AsyncIterator[Cluster]:
    components = ("c8-portal", "c12-manifestor", "c20-chart-store")
    async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix, components=components, changes=WITH_LOG_READER) as cluster:
        yield cluster


async def test_kill9_of_worker_bridge_and_gateway_in_an_import_changes_nothing(cluster: Cluster) -> None:
    """Each process is killed and started again while thousands of events come in: state, audit and components end as without."""
    publishing = asyncio.gather(
        cluster.publish(CHARTS, mixed(1, EVENTS * 2 // 3, CHARTS_COUNT, source="urn:a"), per_s_max=500),
        cluster.publish(OPERATOR, mixed(1, EVENTS // 3, CHARTS_COUNT, source="urn:b"), per_s_max=250),
    )
    assert cluster.gateway is not None
    victims = (cluster.bridges[0], cluster.workers[0], cluster.gateway, cluster.bridges[0], cluster.workers[0])
    for number, child in enumerate(victims, 1):
        await audited(cluster, number * EVENTS // 4)
        assert not publishing.done() or cluster.readings.behind, "everything was over before the kill"
        await kill_and_start(child)
    sent = [each for of_principal in await publishing for each in of_principal]
    await cluster.settled(sent)
    await asyncio.to_thread(cluster.wait_serving)
    await check_everything(cluster, sent)


async def audited(cluster: Cluster, count: int) -> None:
    """Until the audit has so many records: each event makes one, each delivery another."""

    async def there() -> bool:
        await cluster.readings.update()
        return sum(map(len, cluster.readings.audit.values())) >= count

    await eventually(there, 60)


async def kill_and_start(child: Child) -> None:
    await asyncio.to_thread(child.kill9)
    assert child.exit_code == -9
    child.start()
