"""The floor: bare aiokafka that reads the events and writes the same bytes as an engine would, without doing the work. Nothing is decoded.

Per event: its own bytes to a changelog (what an engine must keep to be able to send it again), two records of 190 bytes and one of 170.
In whole batches, as quick as aiokafka can: `create_batch` and `send_batch`, batches up to the request's bound, idempotent, acks=all, and
snappy, because aiokafka runs lz4 at its level 9, which alone would take as long as everything else here.
"""

from __future__ import annotations

from itertools import product

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.peers.options import Options, options

_UPDATE = bytes(range(64, 127)) * 3 + b"!"
_AUDIT = _UPDATE[:170]


async def main(opts: Options) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=opts.bootstrap, enable_idempotence=True, compression_type="snappy", max_batch_size=900_000
    )
    consumer = AIOKafkaConsumer(
        opts.input,
        bootstrap_servers=opts.bootstrap,
        group_id=opts.prefix,
        auto_offset_reset="earliest",
        check_crcs=False,
        max_partition_fetch_bytes=4 << 20,
    )
    await producer.start()
    await consumer.start()
    outputs = (f"{opts.prefix}.changelog", opts.portal, opts.store, opts.audit)
    batches = {(topic, partition): producer.create_batch() for topic, partition in product(outputs, range(opts.partitions))}

    async def append(topic: str, partition: int, pairs: list[tuple[bytes, bytes]]) -> None:
        batch = batches[topic, partition]
        for key, value in pairs:
            if batch.append(key=key, value=value, timestamp=None) is None:
                await producer.send_batch(batch, topic, partition=partition)
                batch = batches[topic, partition] = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)

    while True:
        fetched = await consumer.getmany(timeout_ms=200)
        for tp, records in fetched.items():
            values = (
                [record.value for record in records],
                [_UPDATE] * len(records),
                [_UPDATE] * len(records),
                [_AUDIT] * len(records),
            )
            for topic, column in zip(outputs, values, strict=True):
                await append(topic, tp.partition, list(zip([record.key for record in records], column, strict=True)))
        if not fetched:  # the end, as far as this peer can tell
            for (topic, partition), batch in list(batches.items()):
                if batch.record_count():
                    await producer.send_batch(batch, topic, partition=partition)
                    batches[topic, partition] = producer.create_batch()


if __name__ == "__main__":
    uvloop.run(main(options()))
