"""The bridge's memory of one stream: a checkpoint in a bucket that only its one writer moves. What it means: `bridge_plan.py`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import structlog

from streams.bridge_plan import Checkpoint
from streams.errors import Fatal
from streams.nats_cell import Cell

log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(Checkpoint).decode
#: A write per append would be a disk sync of JetStream per append; what is repeated after a crash stays small all the same.
_PAUSE_S = 0.05


class CheckpointKeeper:
    """`load`, then `adopt` what the plan says, then `advance` as the log acknowledges while `keep` writes. One per serving."""

    def __init__(self, cell: Cell, instance: str) -> None:
        self._cell = cell
        self._instance = instance
        self._revision = 0
        self._moved = asyncio.Event()
        self.stored: Checkpoint | None = None
        self._latest: Checkpoint | None = None

    async def load(self) -> Checkpoint | None:
        entry = await self._cell.read()
        self._revision = entry.revision
        if entry.value is None:
            return None
        try:
            self.stored = self._latest = _decode(entry.value)
        except msgspec.MsgspecError as exc:
            raise Fatal(f"the checkpoint cannot be read: {exc}; restore it, or delete the key from the bucket sm_bridge") from exc
        return self.stored

    async def adopt(self, checkpoint: Checkpoint) -> None:
        """Write at once. Before the first record is sent, so that two bridges cannot disagree about an incarnation. Raises Fenced."""
        self._latest = checkpoint
        await self._write()

    def advance(self, **changes: Any) -> None:
        """The log has acknowledged up to here."""
        assert self._latest is not None
        self._latest = msgspec.structs.replace(self._latest, **changes)
        self._moved.set()

    @property
    def latest(self) -> Checkpoint:
        assert self._latest is not None
        return self._latest

    async def keep(self) -> None:
        """Write what `advance` said, the newest, for ever. Raises Fenced when another bridge has written."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            await self._write()
            await asyncio.sleep(_PAUSE_S)

    async def flush(self) -> None:
        """Write what is not yet written: at the end of a serving that ends well."""
        if self._latest != self.stored:
            await self._write()

    async def _write(self) -> None:
        """The stamp makes the value unlike any other: that is how a write whose reply was lost is known again."""
        wanted = self.latest
        stamped = msgspec.structs.replace(wanted, instance=self._instance, at_ms=time.time_ns() // 1_000_000)
        self._revision = await self._cell.write(msgspec.json.encode(stamped), self._revision)
        self.stored = wanted
