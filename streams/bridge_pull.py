"""Reads one stream by overlapped pull requests. How a message looks on the wire: `nats_pull.py`; what is done with it: `bridge_encode.py`.

A pull is asked for again only when the log has acknowledged everything that it brought, so what is in memory is bounded by
`pulls x (messages_max, bytes_max)` at any speed of either side; several pulls are open at once, so the server never waits for us.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from typing import NamedTuple

from streams.errors import Retriable
from streams.nats_door import ApiError, api
from streams.nats_pull import Arrived, PullClient, Slot
from streams.settings import Bridge, Limits

_EXPIRES_S = 5.0
#: A pull that the server has not ended this long after its expiry is lost.
_LATE_S = 5.0
#: So many messages are worth an append at any time.
_MANY = 500
#: What JetStream counts beside the payload: subject and reply.
_OVERHEAD_BYTES = 16 << 10


class Taken(NamedTuple):
    """Messages in stream order, and how many had arrived through each pull's inbox by then: `release` wants it back."""

    messages: list[Arrived]
    arrived: tuple[int, ...]


class Puller:
    def __init__(
        self, client: PullClient, stream: str, bridge: Bridge, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._stream = stream
        self._consumer = f"bridge-{uuid.uuid4().hex[:12]}"
        self._pulls = bridge.pulls_in_flight
        self._messages_max = bridge.pull_messages_max
        self._request = json.dumps(
            {
                "batch": bridge.pull_messages_max,
                # A pull that is smaller than a message would never get it.
                "max_bytes": max(bridge.pull_bytes_max, limits.nats_payload_bytes_max + _OVERHEAD_BYTES),
                "expires": int(_EXPIRES_S * 1e9),
            }
        ).encode()
        self._clock = clock
        self._interval_s = bridge.round_interval_s
        self._took_at = float("-inf")
        self._slots: list[Slot] = []
        self._released: list[int] = []

    async def start(self, first: int) -> None:
        """Make a consumer that begins at sequence `first` and open the pulls. The server forgets it when nobody pulls."""
        config = {
            "name": self._consumer,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": first,
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": int(30e9),
            "mem_storage": True,
            "num_replicas": 1,
        }
        try:
            await api(
                self._client,
                f"CONSUMER.CREATE.{self._stream}.{self._consumer}",
                {"stream_name": self._stream, "config": config, "action": "create"},
            )
        except ApiError as exc:
            raise Retriable(f"no consumer on {self._stream}: {exc}") from exc
        self._slots = [await self._client.add_slot() for _ in range(self._pulls)]
        self._released = [0] * self._pulls
        await self._ask()

    async def take(self) -> Taken:
        """Wait for messages. Raises Retriable on any doubt about the pulls: the caller starts again from its checkpoint."""
        client = self._client
        while not client.messages:
            client.wakeup.clear()
            self._check()
            await self._ask()
            try:
                async with asyncio.timeout(_EXPIRES_S):
                    await client.wakeup.wait()
            except TimeoutError:
                continue
        await self._gather()
        messages = client.messages[:]
        client.messages.clear()
        return Taken(messages, tuple(slot.arrived for slot in self._slots))

    async def _gather(self) -> None:
        """Under load, a moment for more to come: an append costs the same for one message as for hundreds."""
        pause_s = self._took_at + self._interval_s - self._clock()
        if pause_s > 0 and len(self._client.messages) < _MANY:
            await asyncio.sleep(pause_s)
        self._took_at = self._clock()

    async def release(self, arrived: tuple[int, ...]) -> None:
        """The log has all that had `arrived` by then: its pulls may be asked for again."""
        self._released = list(arrived)
        await self._ask()

    async def _ask(self) -> None:
        for slot, released in zip(self._slots, self._released, strict=True):
            if slot.left == 0 and slot.arrived == released and not slot.status:
                slot.left = self._messages_max
                slot.requested_at = self._clock()
                subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
                await self._client.publish(subject, self._request, reply=slot.inbox)

    def _check(self) -> None:
        if self._client.is_closed or not self._client.is_connected:
            raise Retriable("the connection to NATS is gone")
        for slot in self._slots:
            if slot.status:
                raise Retriable(f"JetStream ended a pull on {self._stream}: {slot.status.decode(errors='replace')}")
            if slot.left and self._clock() - slot.requested_at > _EXPIRES_S + _LATE_S:
                raise Retriable(f"JetStream lost a pull on {self._stream}")
