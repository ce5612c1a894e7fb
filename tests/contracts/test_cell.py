"""What a cell promises, on the one in memory and on JetStream's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.local.nats_server import NatsServer
from streams.errors import Fenced
from streams.nats_cell import Cell, Entry
from streams.nats_streams import bucket_config, ensure
from streams.settings import Settings
from tests.brokers import connected
from tests.cells import MemoryCell

AnyCell = Cell | MemoryCell


@pytest.fixture(name="cell", params=["memory", pytest.param("jetstream", marks=pytest.mark.connected)])
async def _cell(request: pytest.FixtureRequest) -> AsyncIterator[AnyCell]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield MemoryCell()
            return
        server: NatsServer = request.getfixturevalue("fresh_nats")
        settings: Settings = request.getfixturevalue("orbit_settings")
        client = await stack.enter_async_context(connected(server, settings, "syncmaster-bridge"))
        await ensure(client, bucket_config("cells", replicas=1))
        yield Cell(client, "cells", "k")


async def test_a_new_key_is_absent_and_written_from_revision_zero(cell: AnyCell) -> None:
    """Reading back gives the value and the revision that the write returned."""
    assert await cell.read() == Entry(None, 0)
    revision = await cell.write(b"one", 0)
    assert await cell.read() == Entry(b"one", revision)


async def test_only_the_newest_revision_can_be_replaced(cell: AnyCell) -> None:
    """A write that names an older one is Fenced, and changes nothing."""
    first = await cell.write(b"one", 0)
    second = await cell.write(b"two", first)
    assert second > first
    with pytest.raises(Fenced):
        await cell.write(b"late", first)
    assert await cell.read() == Entry(b"two", second)


async def test_a_cleared_key_is_absent_and_can_be_written_again(cell: AnyCell) -> None:
    """The next write names the revision that reading tells."""
    await cell.clear(await cell.write(b"one", 0))
    value, revision = await cell.read()
    assert value is None
    await cell.write(b"two", revision)
    assert (await cell.read()).value == b"two"


async def test_clearing_names_a_revision_too(cell: AnyCell) -> None:
    """Whoever is no longer the last writer clears nothing."""
    first = await cell.write(b"one", 0)
    await cell.write(b"two", first)
    await cell.clear(first)
    assert (await cell.read()).value == b"two"
