"""Publishes events into the door of a principal, for the gateway alone: NATS' permissions let no one else publish for others.

One connection that never gives up; while it is away, `publish` says so at once instead of queueing what its caller would believe
lost. After a time-out nobody knows whether JetStream has the message: the caller is told to repeat, and `Nats-Msg-Id` makes that safe.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from enum import StrEnum

import msgspec
from nats import errors as nats_errors
from nats.aio.client import Client

from streams.errors import Retriable
from streams.events import Incoming
from streams.nats_cell import Cell
from streams.nats_door import ApiError, connect, request
from streams.nats_streams import CHECKPOINTS
from streams.settings import Nats

DOOR_HEADER = "sm-door"
#: A stream's incarnation changes only when it is made anew; it is asked for again after this long.
_INCARNATION_S = 1.0
_FIRST_CHECKPOINT_S = 1.0
_FLUSH_S = 5


class DoorState(StrEnum):
    CONNECTED = "connected"
    AWAY = "away"  # reconnecting, for as long as it takes
    CLOSED = "closed"  # for good: only a new process helps


class Published(msgspec.Struct, frozen=True):
    """JetStream has it on disk. With `duplicate`, `sequence` is that of the first message with this identity."""

    stream: str
    incarnation: int
    sequence: int
    duplicate: bool


class Publisher:
    """Start it, publish, close it. Every failure to publish is Retriable."""

    def __init__(self, settings: Nats) -> None:
        self._settings = settings
        self._client = Client()
        self._connecting: asyncio.Task[Client] | None = None
        self._incarnations: dict[str, tuple[float, int]] = {}  # stream -> (asked at, incarnation)

    async def start(self) -> None:
        """Begin to connect; does not wait for NATS to be there."""
        nats = self._settings
        coming = connect(self._client, nats, nats.gateway_user, nats.gateway_password, name="syncmaster-gateway")
        self._connecting = asyncio.create_task(coming, name="publisher-connect")

    async def aclose(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if not self._client.is_closed:
            await self._client.close()

    @property
    def state(self) -> DoorState:
        if self._client.is_connected:
            return DoorState.CONNECTED
        gave_up = self._connecting is not None and self._connecting.done() and self._client.is_closed
        return DoorState.CLOSED if gave_up else DoorState.AWAY

    async def publish(self, principal: str, incoming: Incoming, *, source: str, event_id: str) -> Published:
        """One event into the principal's stream; returns when JetStream has acknowledged it."""
        if not self._client.is_connected:
            raise Retriable("NATS is away; the event was not taken, send it again", retry_after_s=2.0)
        headers = incoming.headers | {DOOR_HEADER: "http", "Nats-Msg-Id": message_id(source, event_id)}
        try:
            ack = await request(self._client, f"sm.in.{principal}.http", incoming.body, headers)
            stream = str(ack["stream"])
            incarnation = await self._incarnation(stream)
        except ApiError as exc:
            raise Retriable(f"{exc}; a full stream empties as the bridge and the log catch up", retry_after_s=5.0) from exc
        except Retriable as exc:
            raise Retriable(f"{exc}; the event may or may not have been taken, send it again", retry_after_s=5.0) from exc
        return Published(stream, incarnation, int(ack["seq"]), bool(ack.get("duplicate", False)))

    async def announce(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """(subject, payload) of each, without JetStream: returns when the server has them, whether or not anybody listens."""
        if not self._client.is_connected:
            raise Retriable("NATS is away", retry_after_s=2.0)
        try:
            for subject, payload in messages:
                await self._client.publish(subject, payload)
            await self._client.flush(timeout=_FLUSH_S)
        except (nats_errors.Error, OSError, TimeoutError) as exc:
            raise Retriable(f"NATS did not take it: {exc!r}", retry_after_s=2.0) from exc

    async def _incarnation(self, stream: str) -> int:
        """From the bridge's checkpoint, which is there a moment after the stream's first message.

        While no bridge has served the stream it is 1, below every real one: a read with such a token waits for the stream's first
        event in that partition, which may be an earlier one.
        """
        asked_at, known = self._incarnations.get(stream, (float("-inf"), 1))
        if time.monotonic() - asked_at > _INCARNATION_S:
            deadline = time.monotonic() + (_FIRST_CHECKPOINT_S if stream not in self._incarnations else 0)
            while (
                not (checkpoint := (await Cell(self._client, CHECKPOINTS, stream).read()).value) and time.monotonic() < deadline
            ):
                await asyncio.sleep(0.05)
            known = int(json.loads(checkpoint)["incarnation"]) if checkpoint else 1
            self._incarnations[stream] = (time.monotonic(), known)
        return known


def message_id(source: str, event_id: str) -> str:
    """JetStream's deduplication id of an event: CloudEvents' identity is (source, id)."""
    return hashlib.sha256(f"{source}\0{event_id}".encode()).hexdigest()
