"""SyncMaster's recovery alone in a process: what a worker does for each partition it is assigned, four of them side by side."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import uvloop

from benchmarks.peers.options import Options, options
from gateway.cli.serve import relax_collector
from streams.log_reader import LogReader
from streams.topics import Topics
from tables.replica import restore
from tables.store import Stores


async def main(opts: Options) -> None:
    stores = Stores(Path(opts.directory))
    await asyncio.gather(*(_restore(opts, stores, partition) for partition in range(opts.partitions)))
    report("recovered")
    await asyncio.Event().wait()  # until the harness has looked at it


async def _restore(opts: Options, stores: Stores, partition: int) -> None:
    reader = LogReader(opts.bootstrap)
    await reader.start()
    await restore(reader, Topics(opts.prefix), stores, {partition}, on_ready=lambda ready: None)
    await reader.aclose()


def report(what: str) -> None:
    print(f"{what} {time.process_time()} {time.time()}", flush=True)


if __name__ == "__main__":
    relax_collector()  # as `syncmaster worker` does
    report("begin")
    uvloop.run(main(options()))
