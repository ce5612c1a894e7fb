"""Faust as its guide teaches it: one agent, one table in RocksDB with its changelog, `send()` for what goes out. At least once.

Followed, from the settings reference and the user guide: `cython_optimizations`, uvloop, the rocksdict driver, a linger, larger producer
batches, compression (snappy, because aiokafka runs lz4 at its level 9), larger fetches, no leader topic, no web server. Keys and values
are raw where the job has bytes already.
It says when Faust's own recovery has rebuilt the table, which is what the recovery benchmark waits for.
"""

from __future__ import annotations

import time
from typing import Any

import faust

from benchmarks.peers.job import apply
from benchmarks.peers.options import Options, options


def build(opts: Options) -> faust.App:
    app = faust.App(
        opts.prefix,
        broker=f"kafka://{opts.bootstrap}",
        store="rocksdb://",
        datadir=opts.directory,
        topic_partitions=opts.partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        topic_allow_declare=True,
        web_enabled=False,
        cython_optimizations=True,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        broker_check_crcs=False,
        producer_compression_type="snappy",
        producer_linger=0.1,
        producer_max_batch_size=200_000,
        stream_wait_empty=False,
    )
    raw = {"key_serializer": "raw", "value_serializer": "raw"}
    events = app.topic(opts.input, **raw)
    heads = app.Table("heads", partitions=opts.partitions, options={"driver": "rocksdict"})
    portal, store, audit = (app.topic(name, **raw) for name in (opts.portal, opts.store, opts.audit))

    @app.agent(events)
    async def fold(stream: Any) -> None:
        async for key, value in stream.items():
            change = apply(value, heads.get)
            heads[change.artifact] = change.state
            await portal.send(key=key, value=change.portal)
            await store.send(key=key, value=change.store)
            await audit.send(key=key, value=change.audit)

    @heads.on_recover
    async def recovered(*_: Any) -> None:
        print(f"recovered {time.process_time()} {time.time()}", flush=True)

    return app


def main() -> None:
    import uvloop

    uvloop.install()
    print(f"begin {time.process_time()} {time.time()}", flush=True)
    app = build(options())
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
