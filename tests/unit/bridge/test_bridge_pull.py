"""When messages are taken for an append: at once after a rest, a moment later under load."""

from __future__ import annotations

import asyncio
import time

from streams.bridge_pull import Puller
from streams.nats_pull import Arrived, PullClient
from streams.settings import Bridge, Limits


def puller(client: PullClient, interval_s: float) -> Puller:
    bridge = Bridge().model_copy(update={"round_interval_s": interval_s})
    return Puller(client, "SM_IN_c24", bridge, Limits())


def arrive(client: PullClient, count: int) -> None:
    client.messages += [Arrived(b"", b"", b"")] * count


async def test_a_message_after_a_rest_is_taken_at_once() -> None:
    """Who publishes alone does not wait for company."""
    client = PullClient()
    pulled = puller(client, interval_s=60)
    arrive(client, 1)
    async with asyncio.timeout(10):
        assert len((await pulled.take()).messages) == 1


async def test_messages_that_follow_closely_are_taken_together() -> None:
    """Under load a take waits until the interval is over, and brings what has come meanwhile."""
    client = PullClient()
    pulled = puller(client, interval_s=0.1)
    arrive(client, 1)
    began_s = time.monotonic()
    await pulled.take()
    arrive(client, 1)
    taking = asyncio.create_task(pulled.take())
    await asyncio.sleep(0.01)
    arrive(client, 1)
    assert len((await taking).messages) == 2
    assert time.monotonic() - began_s >= 0.1


async def test_many_messages_do_not_wait() -> None:
    """At full load nothing is gained by waiting: throughput has no pauses."""
    client = PullClient()
    pulled = puller(client, interval_s=60)
    for _ in range(2):
        arrive(client, 500)
        async with asyncio.timeout(10):
            assert len((await pulled.take()).messages) == 500
