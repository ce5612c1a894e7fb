"""A key of a bucket in memory; tests/contracts/test_cell.py holds it equal to the real one."""

from __future__ import annotations

from streams.errors import Fenced, Retriable
from streams.nats_cell import Entry


class MemoryCell:
    """One key with compare-and-set, as `Cell` has it. `away` makes every write fail."""

    def __init__(self) -> None:
        self.entry = Entry(None, 0)
        self.away = False

    async def read(self) -> Entry:
        return self.entry

    async def write(self, value: bytes, revision: int) -> int:
        if self.away:
            raise Retriable("NATS is away")
        if revision != self.entry.revision:
            raise Fenced("another one wrote")
        self.entry = Entry(value, revision + 1)
        return revision + 1

    async def clear(self, revision: int) -> None:
        if revision == self.entry.revision:
            self.entry = Entry(None, revision + 1)
