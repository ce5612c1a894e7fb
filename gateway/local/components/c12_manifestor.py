"""C12 Manifestor: renders manifests from image metadata, charts and configurations; takes updates from its own JetStream stream.

A durable pull consumer: an update is acknowledged when it is kept, and comes again when it was not. While told to be `down` or to
`reject`, it takes nothing: updates wait in the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig
from nats.js.errors import Error as JetStreamError

from gateway.local.components.base import Component, main
from gateway.local.components.held import Update
from gateway.local.components.nats_client import nats_client
from streams.ce_headers import attributes_of
from streams.errors import Malformed

log = structlog.get_logger(__name__)

NAME = "c12-manifestor"
STREAM = f"SM_SYNC_{NAME}"
#: Also the name of the durable consumer.
CONSUMER = NAME
BATCH_MAX = 100
PULL_S = 2.0
_PAUSE_S = 0.2


@asynccontextmanager
async def stream(component: Component) -> AsyncIterator[None]:
    async with nats_client(component) as client:
        taking = asyncio.create_task(_take_for_ever(component, client))
        try:
            yield
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)


async def _take_for_ever(component: Component, client: Client) -> None:
    """The stream is made by SyncMaster with the first update, and the server comes and goes."""
    while True:
        try:
            subscription = await _bind(client.jetstream(timeout=PULL_S))
            while True:
                await _take(component, subscription)
        except (errors.Error, JetStreamError, TimeoutError):
            await asyncio.sleep(_PAUSE_S)


async def _bind(jetstream: JetStreamContext) -> JetStreamContext.PullSubscription:
    await jetstream.add_consumer(STREAM, ConsumerConfig(durable_name=CONSUMER, ack_wait=30, max_ack_pending=10 * BATCH_MAX))
    return await jetstream.pull_subscribe_bind(CONSUMER, stream=STREAM)


async def _take(component: Component, subscription: JetStreamContext.PullSubscription) -> None:
    if await component.fault() != "ok":
        await asyncio.sleep(_PAUSE_S)
        return
    try:
        messages = await subscription.fetch(BATCH_MAX, timeout=PULL_S)
    except errors.TimeoutError:
        await subscription.consumer_info()  # raises if the consumer went away with its stream: then both are bound anew
        return
    component.held.take([update for message in messages if (update := _update(message)) is not None])
    for message in messages:
        await message.ack()


def _update(message: Msg) -> Update | None:
    """None for what is no update of SyncMaster: it is acknowledged all the same, or it would come again for ever."""
    try:
        return Update.of(attributes_of(message.headers or {}))
    except (KeyError, ValueError, Malformed) as exc:
        log.warning("not an update of SyncMaster", subject=message.subject, error=repr(exc))
        return None


if __name__ == "__main__":
    main(NAME, stream)
