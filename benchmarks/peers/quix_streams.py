"""Quix Streams: one stateful step over RocksDB with its changelog, three outputs. At least once, its default guarantee.

Followed, from its configuration reference and librdkafka's tuning notes: bytes instead of JSON (de)serialisers where the job has bytes,
`commit_interval` as it is (5 s: state is flushed and the changelog coalesced once per interval), librdkafka's linger, large batches and
lz4 for the producer, large fetches and queue for the consumer. A topic's serialiser takes its part of the result, so that no
branch copies it. Runs in an environment of its own: see `benchmarks/environments.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from quixstreams import Application, State
from quixstreams.models import BytesDeserializer, Serializer

from benchmarks.peers.job import apply
from benchmarks.peers.options import Options, options


class Out(NamedTuple):
    portal: bytes
    store: bytes
    audit: bytes


class Part(Serializer):
    """Sends one field of `Out`."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self._index = index

    def __call__(self, value: Out, ctx: Any) -> bytes:
        return value[self._index]


def fold(value: bytes, state: State) -> Out:
    change = apply(value, lambda artifact: state.get("head"))
    state.set("head", change.state)
    return Out(change.portal, change.store, change.audit)


def main(opts: Options) -> None:
    app = Application(
        broker_address=opts.bootstrap,
        consumer_group=opts.prefix,
        auto_offset_reset="earliest",
        state_dir=opts.directory,
        loglevel="WARNING",
        consumer_extra_config={
            "fetch.message.max.bytes": 4 << 20,
            "queued.max.messages.kbytes": 64 << 10,
            "check.crcs": False,
        },
        producer_extra_config={
            "compression.type": "lz4",
            "linger.ms": 100,
            "batch.size": 900_000,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 1_000_000,
        },
        max_partition_buffer_size=50_000,
    )
    events = app.topic(opts.input, value_deserializer=BytesDeserializer(), key_deserializer="bytes")
    step = app.dataframe(events).apply(fold, stateful=True)
    for index, name in enumerate((opts.portal, opts.store, opts.audit)):
        step = step.to_topic(app.topic(name, value_serializer=Part(index), key_serializer="bytes"))
    app.run()


if __name__ == "__main__":
    main(options())
