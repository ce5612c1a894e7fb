"""Workers that come and go: who takes over, how soon, and how little of the log is read for it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from gateway.local.kafka import Kafka
from gateway.local.process import Child
from tests.checkers import check_everything
from tests.harness import Cluster, eventually
from tests.loads import CHARTS, versions_of

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

PARTITIONS = 4
CHARTS_COUNT, VERSIONS = 100, 10
TAIL = 100
TAKEOVER_S = 5.0

MakeCluster = Callable[[float], Cluster]


@pytest.fixture(name="two_workers")
def _two_workers(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> MakeCluster:
    """Two workers, each with standbys of the other's partitions, and a session timeout to choose."""

    def make(session_s: float) -> Cluster:
        changes = {"kafka": {"partitions": PARTITIONS, "session_timeout_s": session_s, "transaction_timeout_s": session_s + 5}}
        components = ("c20-chart-store",)
        return Cluster(
            tmp_path, kafka, topic_prefix=topic_prefix, workers=2, gateway=False, components=components, changes=changes
        )

    return make


async def test_a_killed_workers_partitions_are_served_by_its_standby_soon_and_only_the_tail_is_replayed(
    two_workers: MakeCluster,
) -> None:
    """kill -9: within 5 s after the session timeout the other serves everything, having read no more than what came last."""
    session_s = 3.0
    async with two_workers(session_s) as cluster:
        sent = await cluster.publish(CHARTS, versions_of(CHARTS_COUNT, VERSIONS))
        await cluster.settled(sent)
        dying, other = cluster.workers
        await standbys_caught_up(cluster)
        sent += await cluster.publish(CHARTS, versions_of(TAIL, 1, prefix="tail"))
        before, seen = records_read(other), len(other.output())
        killed_s = time.monotonic()
        await asyncio.to_thread(dying.kill9)
        await serves_everything(other, seen, session_s + TAKEOVER_S)
        print(f"taken over {time.monotonic() - killed_s:.1f} s after the kill, {records_read(other) - before} records read")
        assert before > 0, "it was no standby"
        assert records_read(other) - before <= 4 * TAIL  # head, version, marker, stamp; the whole is ten times as much
        await cluster.settled(sent)
        await check_everything(cluster, sent)


async def test_a_worker_that_is_stopped_hands_over_before_its_session_could_end(two_workers: MakeCluster) -> None:
    """SIGTERM: the other serves everything long before a session timeout; nothing is lost on the way."""
    session_s = 30.0
    async with two_workers(session_s) as cluster:
        publishing = asyncio.create_task(cluster.publish(CHARTS, versions_of(CHARTS_COUNT, VERSIONS), per_s_max=300))
        stopping, other = cluster.workers
        await shares(cluster)
        seen, stopped_s = len(other.output()), time.monotonic()
        assert await asyncio.to_thread(stopping.stop, 10), "SIGTERM was not enough"
        await serves_everything(other, seen, session_s / 2)
        print(f"handed over {time.monotonic() - stopped_s:.1f} s after the stop began")
        sent = await publishing
        await cluster.settled(sent)
        await check_everything(cluster, sent)


# -- looking at workers ------------------------------------------------------------------------------------------------------------


def lines(worker: Child, event: str, seen: int = 0) -> list[dict[str, object]]:
    """The log lines of that event, beyond the first `seen` characters of its log."""
    found = [json.loads(line) for line in worker.output()[seen:].splitlines() if line.startswith("{") and line.endswith("}")]
    return [line for line in found if line.get("event") == event]


async def serves_everything(worker: Child, seen: int, timeout_s: float) -> None:
    async def there() -> bool:
        return {line["partition"] for line in lines(worker, "partition is served", seen)} == set(range(PARTITIONS))

    try:
        await eventually(there, timeout_s)
    except TimeoutError:
        raise AssertionError(f"not everything is served after {timeout_s:g} s:\n{worker.output()[seen:]}") from None


async def shares(cluster: Cluster) -> None:
    """Until each worker serves its half."""

    async def there() -> bool:
        return all(half(worker) for worker in cluster.workers)

    def half(worker: Child) -> bool:
        last = worker.output().rfind('"assignment taken"')
        return (
            last >= 0 and len(lines(worker, "partition is served", worker.output().rfind("\n", 0, last) + 1)) == PARTITIONS // 2
        )

    await eventually(there, 30)


async def standbys_caught_up(cluster: Cluster) -> None:
    """Until each worker has half the partitions and has read nothing more from changelogs for a second."""
    await shares(cluster)
    last: tuple[int, ...] = ()
    while last != (last := tuple(records_read(worker) for worker in cluster.workers)):
        await asyncio.sleep(1.0)


def records_read(worker: Child) -> int:
    """How many changelog records it has applied since it started: to restore, and as a standby."""
    (address,) = [line["address"] for line in lines(worker, "probes and metrics")]
    with urlopen(f"{address}/metrics", timeout=5) as response:
        found = re.search(r"^syncmaster_restore_records_total ([0-9.e+]+)$", response.read().decode(), re.MULTILINE)
    return int(float(found[1])) if found else 0
