"""Bugs to plant that show only where the log loses its tail. What planting is: `plants.py`."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import msgspec

import agents.artifact
import agents.on_command
import agents.on_event
import agents.partitions
import agents.sinks.backlog
import agents.sync_state
from agents.artifact import Mailbox
from agents.partitions import Partitions
from streams.bridge_stream import StreamBridge
from streams.log_ends import LogEnds
from tables.store import PartitionStore
from tests.simulation.log_clients import SimulatedReader
from tests.simulation.planting import plant_for_losses


@plant_for_losses
def stores_are_known_by_offsets_alone() -> Any:
    """A store goes on from its offset, whatever stands before it in the changelog now."""
    return patch.object(PartitionStore, "fingerprint", lambda *_: None)


@plant_for_losses
def checkpoints_are_known_by_offsets_alone() -> Any:
    """A bridge goes on when the log is long enough, whoever's records are there."""

    async def replaced(*_: Any) -> dict[int, int]:
        return {}

    return patch.object(LogEnds, "replaced", replaced)


@plant_for_losses
def idle_streams_do_not_ask() -> Any:
    """A stream that has nothing to append leaves it to others to notice."""

    async def confirm(*_: Any) -> None:
        await asyncio.Event().wait()

    return patch.object(StreamBridge, "_confirm", confirm)


@plant_for_losses
def idle_partitions_do_not_ask() -> Any:
    """A partition that has nothing to write serves what the log has lost."""

    async def watch(*_: Any) -> None:
        await asyncio.Event().wait()

    return patch.object(Partitions, "_watch", watch)


@plant_for_losses
def chunks_are_taken_over_any_connection() -> Any:
    """Whoever fetched reads on behind a log that was away, however it has come back."""

    def offer(self: Mailbox, chunk: Any) -> bool:
        return original(self, msgspec.structs.replace(chunk, connection=self._connection))

    original = Mailbox.offer
    return patch.object(Mailbox, "offer", offer)


@plant_for_losses
def followers_read_on_over_any_connection() -> Any:
    """Whoever follows a changelog reads on behind a log that was away, however it has come back."""

    def fetch(self: SimulatedReader, positions: Any) -> Any:
        return original(self, positions)[0], 0

    original = SimulatedReader._fetch
    return patch.object(SimulatedReader, "_fetch", fetch)


@plant_for_losses
def commands_are_not_known_again() -> Any:
    """When [commands] is read again, all of it is carried out again."""
    return patch.object(agents.pipeline, "is_repeated_command", lambda *_: False)
