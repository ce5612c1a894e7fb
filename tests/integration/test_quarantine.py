"""A policy parks an artifact, later events queue, an operator releases them, and the worker is killed while the queue is drained."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.local.kafka import Kafka
from streams.producer import Message
from tests.checkers import check_everything, check_order_at_component
from tests.harness import WITH_LOG_READER, Cluster, Sent, eventually
from tests.loads import CHARTS, chart, message
from tests.readings import arrivals

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

PARKING = {"name": "not-from-there", "kind": "allow_deny", "action": "quarantine", "sources": {"deny": ["urn:parked*"]}}
QUEUED = 700
POINTS = ("between", "committed", "end")


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> AsyncIterator[Cluster]:
    mortal = (sys.executable, "-m", "tests.fault.worker_main")
    changes = WITH_LOG_READER | {"policies": [PARKING]}
    async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix, changes=changes, worker_command=mortal) as cluster:
        yield cluster


def versions(name: str, numbers: range, *, source: str = "urn:load") -> list[Message]:
    return [message(chart(name, f"1.{n}.0", f"{name}-{n}", source=source)) for n in numbers]


async def test_what_is_parked_comes_out_in_order_whatever_is_killed(cluster: Cluster) -> None:
    """Parked by policy, 700 behind it, others flow; released while the worker dies again and again: all of it arrives, in order, once."""
    bad = message(chart("held-up", "1.1.0", "held-up-1", source="urn:parked"))
    sent = await cluster.publish(CHARTS, [*versions("held-up", range(1)), bad, *versions("held-up", range(2, 2 + QUEUED))])
    sent += await cluster.publish(
        CHARTS, [*versions("other", range(20)), Message("load", message(chart("x", "1.0.0", "x")).incoming)]
    )
    await cluster.settled(sent)
    (parked,) = await listed(cluster, "--kept", "parked")
    assert len(await listed(cluster, "--artifacts", "chart/held-up")) == QUEUED + 1
    shown = json.loads(await syncmaster(cluster, "show", parked["artifact"], parked["id"]))
    assert (shown["position"], shown["waiting"], shown["rule"]) == (0, QUEUED + 1, "not-from-there")
    assert base64.b64decode(shown["body_base64"]) == bad.incoming.body
    assert {
        update.version for update in arrivals(cluster.component_directory("c20-chart-store")) if "held-up" in update.artifact
    } == {"1.0.0"}

    worker = cluster.workers[0]
    die_at = Path(f"{cluster.directory}/worker-0.die-at")
    die_at.write_text("between")
    await syncmaster(cluster, "release", parked["artifact"], parked["id"], "--reason", "looked at it")
    for number, point in enumerate((*POINTS[1:], ""), 1):
        await eventually(gone(worker), 60)
        assert worker.exit_code == -9
        if point:
            die_at.write_text(point)
        worker.start()
        first = 2 + QUEUED + number * 10
        sent += await cluster.publish(CHARTS, versions("held-up", range(first, first + 10)))
    await cluster.settled(sent)
    assert await listed(cluster) == []
    await check_everything(cluster, sent)
    expected = [f"1.{n}.0" for n in (*range(2 + QUEUED), *range(12 + QUEUED, 42 + QUEUED))]
    for component in ("c8-portal", "c20-chart-store"):
        check_order_at_component(arrivals(cluster.component_directory(component)), versions={"chart/held-up": expected})


async def test_release_and_discard_by_filter(cluster: Cluster) -> None:
    """Garbage is discarded, what a rule parked is released; what was discarded does not come again, and all of it is in the audit."""
    garbage = [Message("load", message(chart("x", "1.0.0", "x")).incoming.__class__(b"garbage %d" % n)) for n in range(3)]
    bad = [event for name in ("one", "two", "three") for event in versions(name, range(2), source="urn:parked")]
    sent: list[Sent] = await cluster.publish(CHARTS, [*garbage, *bad, *versions("one", range(2, 4))])
    await cluster.settled(sent)
    assert len(await listed(cluster)) == 3 + 6 + 2
    await syncmaster(cluster, "discard", "--code", "json.invalid", "--reason", "garbage")
    await syncmaster(cluster, "discard", "--artifacts", "chart/two", "--reason", "not wanted")
    for left in (4, 0):  # the second event of each was sent from there too
        await syncmaster(cluster, "release", "--rule", "not-from-there", "--reason", "fine")
        await eventually(holds(cluster, left), 30)
    sent += await cluster.publish(CHARTS, versions("two", range(2), source="urn:parked"))
    await cluster.settled(sent)

    assert await listed(cluster) == []
    heads = cluster.readings.heads()
    assert {key: (head.version, head.generation) for key, head in heads.items()} == {
        "chart/one": ("1.3.0", 4),
        "chart/three": ("1.1.0", 2),
    }
    codes = [entry.record.code for entry in cluster.readings.audited() if entry.record.outcome.value == "command"]
    assert codes.count("quarantine.discard") == 3 + 2
    assert codes.count("quarantine.release") == 4
    await check_everything(cluster, sent)


def gone(worker: Any) -> Any:
    async def is_gone() -> bool:
        return not worker.running

    return is_gone


def holds(cluster: Cluster, count: int) -> Any:
    async def does() -> bool:
        return len(await listed(cluster)) == count

    return does


async def listed(cluster: Cluster, *options: str) -> list[dict[str, Any]]:
    return json.loads(await syncmaster(cluster, "list", *options))  # type: ignore[no-any-return]


async def syncmaster(cluster: Cluster, *arguments: str) -> str:
    """`syncmaster quarantine …`, as an operator at a terminal."""
    key = cluster.key()["Authorization"].removeprefix("Bearer ")
    env = dict(os.environ) | {"SYNCMASTER_URL": cluster.url("gateway"), "SYNCMASTER_API_KEY": key}
    command = [sys.executable, "-m", "gateway.cli.main", "quarantine", *arguments, "--format", "json"]
    run = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout
