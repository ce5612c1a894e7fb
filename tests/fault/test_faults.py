"""Everything at once: a load of all kinds while a seeded schedule of faults strikes every process. What must hold: `tests/checkers.py`."""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.local.kafka import Kafka
from streams.command_log import CommandLog
from streams.commands import Command
from streams.errors import Retriable
from tables.model import SyncState
from tests.checkers import check_everything
from tests.fault.conftest import Form
from tests.fault.report import commit, write_report
from tests.fault.schedule import LEASE_S, REQUEST_S, SENDS_LATER, SESSION_S, Step, heal, schedule, strike
from tests.harness import WITH_LOG_READER, Cluster, Sent
from tests.loads import CHARTS, OPERATOR, mixed

pytestmark = [pytest.mark.connected, pytest.mark.timeout(7200)]

#: What a fault lasts, on average.
STEP_S = 4.0
#: Deliveries to one component at a time: what a worker may have been about to send when it was paused.
IN_FLIGHT_MAX = 16
WORKER = [sys.executable, "-m", "tests.fault.worker_main"]
SETTINGS = {
    "kafka": {"request_timeout_s": REQUEST_S, "session_timeout_s": SESSION_S, "transaction_timeout_s": SESSION_S * 2},
    "bridge": {"lease_ttl_s": LEASE_S},
    "worker": {"chunk_records_max": 500},
}


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, own_kafka: Kafka, topic_prefix: str, form: Form) -> AsyncIterator[Cluster]:
    changes = SETTINGS | WITH_LOG_READER
    components = ("c8-portal", "c12-manifestor", "c28-kustomize")
    async with Cluster(
        tmp_path,
        own_kafka,
        topic_prefix=topic_prefix,
        workers=2 + form.seed % 2,
        bridges=2,
        components=components,
        changes=changes,
        worker_command=WORKER,
    ) as cluster:
        yield cluster


async def test_no_schedule_of_faults_makes_the_state_lie(cluster: Cluster, form: Form) -> None:
    """Nothing lost, nothing counted twice, order kept; changelog, RocksDB and a model of the input agree; outputs and audit as the state says."""
    print(f"SYNCMASTER_FAULT_SEED={form.seed}: {form.events} events about {form.artifacts} artifacts")
    began_at, started_s, done = commit(), time.monotonic(), list[Step]()
    per_s = form.events / form.steps / STEP_S  # the load lasts about as long as the faults
    publishing = asyncio.gather(
        cluster.publish(CHARTS, mixed(form.seed, form.events * 2 // 3, form.artifacts, source="urn:charts"), per_s_max=per_s),
        cluster.publish(OPERATOR, mixed(form.seed, form.events // 3, form.artifacts, source="urn:operator"), per_s_max=per_s / 2),
    )
    commanding = asyncio.create_task(command_now_and_then(cluster, form))
    for step in schedule(form.seed):
        if len(done) >= form.steps and publishing.done():
            break
        print(f"{time.monotonic() - started_s:7.1f} s: {step}", flush=True)
        await strike(cluster, step)
        done.append(step)
    await heal(cluster)
    commanding.cancel()
    await asyncio.gather(commanding, return_exceptions=True)
    sent = [each for of_principal in await publishing for each in of_principal]
    await settled_with_help(cluster, sent, form.timeout_s)
    pauses = sum(step.fault in SENDS_LATER for step in done)
    await check_everything(cluster, sent, late_max=pauses * IN_FLIGHT_MAX)
    if form.result:
        write_report(form.result, form, began_at, done, cluster, sent, time.monotonic() - started_s)


async def settled_with_help(cluster: Cluster, sent: list[Sent], timeout_s: float) -> None:
    """Like an operator, asks again for what a component has rejected for good; everything else has to come into step by itself."""

    async def help_now_and_then() -> None:
        while True:
            await asyncio.sleep(2)
            failed = [
                (key, component)
                for key, head in cluster.readings.heads().items()
                for component, sync in head.sync.items()
                if sync.state is SyncState.FAILED
            ]
            await command(cluster, failed)

    helping = asyncio.create_task(help_now_and_then())
    try:
        await cluster.settled(sent, timeout_s)
    finally:
        helping.cancel()
        await asyncio.gather(helping, return_exceptions=True)


async def command_now_and_then(cluster: Cluster, form: Form) -> None:
    rng = random.Random(form.seed)
    while True:
        await asyncio.sleep(0.5)
        keys = [f"chart/chart-{rng.randrange(form.artifacts)}" for _ in range(5)]
        await command(cluster, [(key, rng.choice(["", *cluster.components])) for key in keys])


async def command(cluster: Cluster, pairs: list[tuple[str, str]]) -> None:
    """Manual syncs, appended as the gateway does; while the log is away none are given."""
    log = CommandLog(cluster.settings.kafka)
    try:
        with suppress(Retriable):
            await log.append((key, Command(uuid.uuid4().hex, "sync", OPERATOR, 0, component)) for key, component in pairs)
    finally:
        await log.aclose()
