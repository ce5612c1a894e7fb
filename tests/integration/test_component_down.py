"""A component that is away while others work: it costs nothing but its own lag, and comes into step by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.local.kafka import Kafka
from tables.audit_record import Outcome
from tests.checkers import check_everything, check_order_at_component
from tests.harness import Cluster, eventually
from tests.loads import CHARTS, versions_of
from tests.readings import arrivals

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

CHARTS_COUNT, VERSIONS = 40, 10
EVENTS = CHARTS_COUNT * VERSIONS


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> AsyncIterator[Cluster]:
    components = ("c8-portal", "c20-chart-store")
    async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix, components=components, gateway=False) as cluster:
        yield cluster


async def test_a_component_that_was_down_comes_into_step_by_itself_in_order_and_nobody_waited_for_it(cluster: Cluster) -> None:
    """C20 is down for the whole import: C8 gets every version meanwhile; back again, C20 gets every version, in order."""
    down = cluster.components["c20-chart-store"]
    await asyncio.to_thread(down.kill9)
    sent = await cluster.publish(CHARTS, versions_of(CHARTS_COUNT, VERSIONS))
    await delivered(cluster, "c8-portal", EVENTS)
    assert not [entry for entry in cluster.readings.audited() if entry.record.component == "c20-chart-store"]
    heads = cluster.readings.heads().values()
    assert len(heads) == CHARTS_COUNT
    assert all(head.sync["c8-portal"].delivered > head.sync["c20-chart-store"].delivered == 0 for head in heads)
    down.start()
    await cluster.settled(sent)
    order = {f"chart/chart-{number}": [f"1.{version}.0" for version in range(VERSIONS)] for number in range(CHARTS_COUNT)}
    check_order_at_component(arrivals(cluster.component_directory("c20-chart-store")), versions=order)
    await check_everything(cluster, sent)


async def delivered(cluster: Cluster, component: str, count: int) -> None:
    """Until the audit says that the component has so many."""

    async def there() -> bool:
        await cluster.readings.update()
        records = (entry.record for entry in cluster.readings.audited())
        return sum(record.component == component and record.outcome is Outcome.DELIVERED for record in records) >= count

    await eventually(there, 60)
