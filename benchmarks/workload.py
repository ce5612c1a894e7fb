"""The events that every engine gets: CDEvents `artifact.published` of about 640 bytes, the same bytes for the same seed. No randomness else.

An event is known by its number. Its artifact is drawn by the seed, so chunks repeat keys as real traffic does; its version counts
the events of its artifact, so it tells how often the artifact was seen before. `Expected` is what that means for the outputs of an
engine that loses nothing, doubles nothing and keeps the order per artifact: one fingerprint, whatever the engine.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.ingress import HEADER
from streams.partition import partition_of

PRINCIPAL = "c24"
TYPE = "dev.cdevents.artifact.published.0.2.0"
_STARTED_MS = 1_795_000_000_000
_BATCH_BYTES_MAX = 500_000
_MASK = (1 << 64) - 1


class Workload(NamedTuple):
    """`events` events over `artifacts` artifacts. `rounds` deals the artifacts in turn instead of drawing them."""

    events: int
    artifacts: int
    seed: int = 1
    rounds: bool = False

    def numbered(self) -> Iterator[tuple[int, int, int]]:
        """(number, artifact, how often that artifact came, this time included), in input order."""
        seen = [0] * self.artifacts
        draw = random.Random(self.seed).randrange
        for number in range(self.events):
            artifact = number % self.artifacts if self.rounds else draw(self.artifacts)
            seen[artifact] += 1
            yield number, artifact, seen[artifact]

    def last_counts(self) -> Iterator[tuple[str, int]]:
        """(artifact key, how often it comes in all) for those that come."""
        counts = dict[int, int]()
        for _, artifact, count in self.numbered():
            counts[artifact] = count
        return ((key(artifact), count) for artifact, count in counts.items())

    def fingerprint(self) -> str:
        """Of the updates (artifact, generation, version) that any correct engine sends a component for this input."""
        total = Fingerprint()
        for _, artifact, count in self.numbered():
            total.add(key(artifact), count, version(count))
        return total.hex()


class Fingerprint:
    """A hash of a multiset: in whatever order the updates are read. Generation and version together tell the order per artifact."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, artifact: str, generation: int, version: str) -> None:
        digest = hashlib.blake2b(f"{artifact}\0{generation}\0{version}".encode(), digest_size=8).digest()
        self._sum = (self._sum + struct.unpack("<Q", digest)[0]) & _MASK
        self.count += 1

    def hex(self) -> str:
        return f"{self._sum:016x}"


def key(artifact: int) -> str:
    return f"chart/component-{artifact:07d}"


def version(count: int) -> str:
    return f"1.{count}.0"


def body(number: int, artifact: int, count: int, extra: str = "") -> bytes:
    """One event as C24 would send it. `extra` goes into customData, e.g. `,"sent_ns":17`."""
    name, ident, ver = key(artifact)[6:], f"{number:016x}", version(count)
    digest = f"{number * 0x9E3779B97F4A7C15 & _MASK:016x}" * 4
    purl = f"pkg:generic/{name}@{ver}?checksum=sha256:{digest}"
    return (
        f'{{"specversion":"1.0","id":"{ident}","source":"/c24","type":"{TYPE}","subject":"{purl}",'
        f'"time":"2026-11-01T10:00:00Z","datacontenttype":"application/json","data":{{"context":{{"version":"0.4.1",'
        f'"id":"{ident}","source":"/c24","type":"{TYPE}"}},'
        f'"subject":{{"id":"{purl}","type":"artifact","content":{{}}}},'
        f'"customData":{{"kind":"chart","version":"{ver}"{extra}}}}}}}'
    ).encode()


def ingress(number: int) -> bytes:
    """The header that the bridge stamps: as if all had come through one stream, in this order."""
    return f"SM_IN_{PRINCIPAL} 1 {number + 1} 0 {_STARTED_MS + number} nats {PRINCIPAL} bench".encode()


async def write(bootstrap: str, topic: str, partitions: int, workload: Workload) -> None:
    """The workload as the bridge writes it: key, header, partition; lz4; in as few batches as the broker takes."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type="lz4",
        enable_idempotence=True,
        max_batch_size=_BATCH_BYTES_MAX,
    )
    await producer.start()
    try:
        batches: list[BatchBuilder] = [producer.create_batch() for _ in range(partitions)]
        for number, artifact, count in workload.numbered():
            name = key(artifact).encode()
            partition = partition_of(name, partitions)
            record = {
                "key": name,
                "value": body(number, artifact, count),
                "headers": [(HEADER, ingress(number))],
                "timestamp": None,
            }
            if batches[partition].append(**record) is None:
                await producer.send_batch(batches[partition], topic, partition=partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(**record)
        for partition, batch in enumerate(batches):
            if batch.record_count():
                await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()
