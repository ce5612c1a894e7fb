"""Publishes events as a principal, over NATS JetStream: what a component's author would write, with retries and many in flight.

A publish is done when JetStream has acknowledged it. Until then it is repeated, with the same `Nats-Msg-Id`, which makes that safe.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable

import msgspec
from nats.aio.client import Client

from streams.errors import Retriable
from streams.events import Incoming
from streams.nats_door import ApiError, connect, request
from streams.settings import Nats, SecretRef

IN_FLIGHT_MAX = 128
_PAUSE_S_MAX = 5.0


class Message(msgspec.Struct, frozen=True):
    """`subject` goes behind `sm.in.<principal>.`; `ident` is JetStream's deduplication id, empty for none."""

    subject: str
    incoming: Incoming
    ident: str = ""


class Acknowledged(msgspec.Struct, frozen=True):
    """Where the message stands in its stream. With `duplicate`, that is where its first copy stands."""

    stream: str
    sequence: int
    duplicate: bool


def content_id(body: bytes) -> str:
    """A deduplication id for what has no (source, id) of its own, e.g. a batch."""
    return hashlib.sha256(body).hexdigest()


async def publish_all(
    nats: Nats,
    principal: str,
    password: SecretRef | None,
    messages: Iterable[Message],
    on_acknowledged: Callable[[Message, Acknowledged], None],
    *,
    per_s_max: float = 0.0,
) -> None:
    """Publish in order, many in flight, until every one is acknowledged. `per_s_max` of 0 means as fast as JetStream takes them.

    Order on the wire is the order of `messages`; one that had to be repeated may end up behind its successors.
    """
    client = await connect(Client(), nats, principal, password, name=f"syncmaster-publish-{principal}")
    slots = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def one(message: Message) -> None:
        try:
            on_acknowledged(message, await _acknowledged(client, principal, message))
        finally:
            slots.release()

    try:
        async with asyncio.TaskGroup() as group:
            for message in messages:
                await slots.acquire()
                group.create_task(one(message))
                await asyncio.sleep(1 / per_s_max if per_s_max else 0)
    finally:
        await client.close()


async def _acknowledged(client: Client, principal: str, message: Message) -> Acknowledged:
    headers = dict(message.incoming.headers)
    if message.ident:
        headers["Nats-Msg-Id"] = message.ident
    pause_s = 0.05
    while True:
        try:
            ack = await request(client, f"sm.in.{principal}.{message.subject}", message.incoming.body, headers or None)
            return Acknowledged(str(ack["stream"]), int(ack["seq"]), bool(ack.get("duplicate", False)))
        except (Retriable, ApiError):
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)
