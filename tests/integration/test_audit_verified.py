"""The audit of a running system is verified: live and from an export, after kills, and after somebody has been at the log."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from nats.errors import Error as NatsError

from gateway.local.kafka import Kafka
from streams.topic_admin import administering
from tables.audit_checkpoint import Checkpoint, trust_of
from tables.audit_record import CHAIN_HEADER, Outcome
from tests.brokers import connected
from tests.harness import Cluster, eventually
from tests.loads import CHARTS, mixed

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

EVENTS = 1500
OFTEN = {"audit": {"checkpoint_interval_s": 0.3}}


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> AsyncIterator[Cluster]:
    async with Cluster(
        tmp_path, kafka, topic_prefix=topic_prefix, components=("c20-chart-store",), gateway=False, workers=2, changes=OFTEN
    ) as cluster:
        yield cluster


async def test_audit_is_whole_after_kills_and_not_after_tampering(cluster: Cluster, tmp_path: Path) -> None:
    """Verification has nothing to say of a system whose workers were killed in load, and names a record that somebody wrote again."""
    publishing = asyncio.create_task(cluster.publish(CHARTS, mixed(3, EVENTS, 60, source="urn:a"), per_s_max=250))
    for number in range(4):
        await eventually(lambda number=number: _has_audited(cluster, (number + 1) * EVENTS // 6), 90)
        worker = cluster.workers[number % 2]
        await asyncio.to_thread(worker.kill9)
        whole, report = await audit(cluster, "verify")
        assert whole, report  # while the other one takes over
        worker.start()
    await cluster.settled(await publishing)

    whole, report = await audit(cluster, "verify")
    assert (whole, report["faults"]) == (True, [])
    assert report["records"] == sum(map(len, cluster.readings.audit.values()))
    assert report["checkpoints"] >= 8

    file = tmp_path / "audit.jsonl"
    assert (await command(cluster, "export", str(file)))[0] == 0
    whole, from_file = await audit(cluster, "verify", str(file))
    assert (whole, from_file["records"]) == (True, report["records"])
    await _check_witness(cluster, file)

    await _configure_otherwise(cluster)
    whole, report = await audit(cluster, "verify")
    assert whole, report

    await _delete_beginning(cluster, partition=2)
    whole, report = await audit(cluster, "verify")
    assert whole, report
    assert report["first"]["2"] > 0
    assert "retention has deleted what was before" in report["notes"][0]

    await _write_again(cluster, partition=1, seq=2)
    whole, report = await audit(cluster, "verify")
    assert not whole
    assert [(fault["kind"], fault["partition"], fault["seq"]) for fault in report["faults"]] == [("doubled", 1, 2)]


async def _has_audited(cluster: Cluster, count: int) -> bool:
    await cluster.readings.update()
    return sum(map(len, cluster.readings.audit.values())) >= count


async def _configure_otherwise(cluster: Cluster) -> None:
    """Every partition tells of it, though nothing else happens."""
    cluster.config.write_text(cluster.config.read_text() + "limits: {json_depth_max: 65}\n")
    for worker in cluster.workers:
        await asyncio.to_thread(worker.stop)
        worker.start()

    async def told() -> bool:
        await cluster.readings.update()
        newest = [entries[-1].record for entries in cluster.readings.audit.values()]
        return all(record.outcome is Outcome.CONFIGURATION and record.code == "configuration.changed" for record in newest)

    await eventually(told, 60)


async def _check_witness(cluster: Cluster, file: Path) -> None:
    """What a witness took over NATS is signed, and agrees with the export."""
    kept = file.with_name("checkpoints.jsonl")
    async with connected(cluster.nats, cluster.settings, "operator") as client:
        pulled = await client.jetstream().pull_subscribe("sm.audit.checkpoint.*", stream="SM_AUDIT", durable="witness")
        messages = await pulled.fetch(1000, timeout=5)
        with pytest.raises((NatsError, TimeoutError)):  # hears checkpoints, says none
            await client.request("sm.audit.checkpoint.0", b"{}", timeout=1)
    checkpoints = [msgspec.json.decode(message.data, type=Checkpoint) for message in messages]
    assert not any(map(trust_of(cluster.settings.audit).doubt, checkpoints))
    kept.write_bytes(b"\n".join(message.data for message in messages))
    whole, report = await audit(cluster, "verify", str(file), "--checkpoints", str(kept))
    assert whole, report
    newest = max(checkpoints, key=lambda checkpoint: checkpoint.seq)
    kept.write_bytes(msgspec.json.encode(msgspec.structs.replace(newest, seq=newest.seq - 1)))
    whole, report = await audit(cluster, "verify", str(file), "--checkpoints", str(kept))
    assert (whole, report["faults"][0]["kind"]) == (False, "forged")


async def _delete_beginning(cluster: Cluster, partition: int) -> None:
    """As retention does it, a segment at a time."""
    topic = cluster.readings.topics.audit
    async with administering(cluster.kafka.bootstrap) as admin:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(20)})


async def _write_again(cluster: Cluster, partition: int, seq: int) -> None:
    entry = cluster.readings.audit[partition][seq]
    producer = AIOKafkaProducer(bootstrap_servers=cluster.kafka.bootstrap)
    await producer.start()
    try:
        headers = [(CHAIN_HEADER, entry.link.encode())]
        await producer.send_and_wait(cluster.readings.topics.audit, entry.value, partition=partition, headers=headers)
    finally:
        await producer.stop()


async def audit(cluster: Cluster, *arguments: str) -> tuple[bool, dict[str, Any]]:
    """`syncmaster audit verify`: whether it exits with 0, and what it says."""
    code, out = await command(cluster, *arguments, "--format", "json")
    report: dict[str, Any] = json.loads(out)
    return code == 0, report


async def command(cluster: Cluster, *arguments: str) -> tuple[int, str]:
    line = [sys.executable, "-m", "gateway.cli.main", "audit", *arguments]
    done = await asyncio.to_thread(
        subprocess.run, line, env=cluster._env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    return done.returncode, done.stdout
