"""`syncmaster worker` that can be told to die at a chosen point of a transaction. For tests: the same composition, one class in place of another.

While the file that SYNCMASTER_FAULT_DIE_AT names exists, the worker kills itself (SIGKILL) as soon as it comes to the point that the file
names: `produce` (before a transaction's first produce request), `between` (before a later one), `end` (all is sent, nothing
committed), `committed` (committed, and not yet in RocksDB). Requests are small here, so that most chunks need several.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import agents.worker
from gateway.cli.main import main
from streams.log_transaction import Append, TransactionalWriter

VARIABLE = "SYNCMASTER_FAULT_DIE_AT"
POINTS = ("produce", "between", "end", "committed")
_BATCH_BYTES_MAX = 30_000


def come_to(point: str) -> None:
    order = Path(os.environ[VARIABLE])
    if order.exists() and order.read_text() == point:
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


async def before_produce(number: int) -> None:
    come_to("between" if number else "produce")


class MortalWriter(TransactionalWriter):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"batch_bytes_max": _BATCH_BYTES_MAX, "before_produce": before_produce})

    async def commit(self, appends: Sequence[Append], timestamp_ms: int) -> dict[tuple[str, int], int]:
        offsets = await super().commit(appends, timestamp_ms)
        come_to("committed")
        return offsets

    async def _end(self) -> None:
        come_to("end")
        await super()._end()


if __name__ == "__main__":
    agents.worker.TransactionalWriter = MortalWriter  # type: ignore[misc]
    sys.argv[1:] = ["worker"]
    main()
