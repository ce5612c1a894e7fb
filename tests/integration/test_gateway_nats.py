"""The HTTP door on a real nats-server, with the permissions that ship."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from gateway.local.nats_server import NatsServer
from streams.nats_cell import Cell
from streams.nats_streams import CHECKPOINTS, bucket_config, ensure, stream_config
from streams.publisher import DoorState, Publisher, message_id
from streams.settings import Settings
from tests.brokers import connected
from tests.events import chart_event, encode
from tests.gateways import World

pytestmark = pytest.mark.connected
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


async def wait_for(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        await asyncio.sleep(0.02)


@pytest.fixture
async def bridge(fresh_nats: NatsServer, orbit_settings: Settings) -> AsyncIterator[Client]:
    """A client with the bridge's rights, after it has made what a bridge makes at its start."""
    async with connected(fresh_nats, orbit_settings, orbit_settings.nats.bridge_user) as client:
        await ensure(client, stream_config(orbit_settings, "c24"))
        await ensure(client, bucket_config(CHECKPOINTS, 1))
        yield client


@pytest.fixture
async def world(fresh_nats: NatsServer, orbit_settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "world") as world:
        nats = orbit_settings.nats.model_copy(update={"url": fresh_nats.url})
        publisher = Publisher(nats)
        object.__setattr__(world.context, "publisher", publisher)
        await publisher.start()
        await wait_for(lambda: publisher.state is DoorState.CONNECTED)
        yield world
        await publisher.aclose()


async def post(world: World, body: bytes) -> tuple[int, dict[str, object]]:
    response = await world.post("/v1/events", by="c24", headers=STRUCTURED, data=body)
    return response.status, await response.json()


async def test_event_is_in_the_principals_stream(bridge: Client, world: World) -> None:
    """An accepted event is in JetStream under its principal, with its bytes, its door and its dedup id."""
    body = encode(chart_event("a", "1.0.0", ident="e1"))
    status, taken = await post(world, body)
    assert (status, taken["items"][0]["token"]) == (202, f"SM_IN_c24:{world.partition('chart/a')}:1.1.0")  # type: ignore[index]
    message = await bridge.jetstream().get_msg("SM_IN_c24", 1)
    assert (message.subject, message.data) == ("sm.in.c24.http", body)
    assert message.headers == {
        "content-type": "application/cloudevents+json",
        "sm-door": "http",
        "Nats-Msg-Id": message_id("urn:test", "e1"),
    }


async def test_repeated_event_is_stored_once(bridge: Client, world: World) -> None:
    """An event sent twice has one message, and both answers the same token."""
    body = encode(chart_event("a", "1.0.0"))
    (_, first), (_, second) = await post(world, body), await post(world, body)
    assert second["items"][0] == first["items"][0] | {"duplicate": True}  # type: ignore[index]
    assert (await bridge.jetstream().stream_info("SM_IN_c24")).state.messages == 1


async def test_token_has_the_streams_incarnation(bridge: Client, world: World) -> None:
    """The incarnation in a token is the one that the bridge keeps for the stream."""
    cell = Cell(bridge, CHECKPOINTS, "SM_IN_c24")
    await cell.write(json.dumps({"incarnation": 3}).encode(), 0)
    _, taken = await post(world, encode(chart_event("a", "1.0.0")))
    assert taken["items"][0]["token"].endswith(":3.1.0")  # type: ignore[index]


async def test_no_stream_yet(world: World) -> None:
    """Before a bridge has made the principal's stream nothing is taken: 503, not 202."""
    status, problem = await post(world, encode(chart_event("a", "1.0.0")))
    assert (status, problem["code"]) == (503, "publish.unavailable")


async def test_full_stream(bridge: Client, world: World, orbit_settings: Settings) -> None:
    """A stream that is full refuses, the caller is told so with 503, and what was taken stays."""
    await ensure(bridge, stream_config(orbit_settings, "c24") | {"max_msgs": 1})
    assert (await post(world, encode(chart_event("a", "1.0.0"))))[0] == 202
    status, problem = await post(world, encode(chart_event("a", "2.0.0")))
    assert (status, "maximum messages exceeded" in str(problem["detail"])) == (503, True)


async def test_nats_goes_and_comes_back(bridge: Client, world: World, fresh_nats: NatsServer) -> None:
    """While NATS is away the answer is 503, at once; when it is back the door is open without help."""
    fresh_nats.kill9()
    await wait_for(lambda: world.context.publisher.state is DoorState.AWAY)
    began = time.monotonic()
    status, problem = await post(world, encode(chart_event("a", "1.0.0")))
    assert (status, problem["code"], time.monotonic() - began < 1.0) == (503, "publish.unavailable", True)
    assert (await world.get("/livez", by=None)).status == 200
    fresh_nats.start()
    await wait_for(lambda: world.context.publisher.state is DoorState.CONNECTED)
    assert (await post(world, encode(chart_event("a", "1.0.0"))))[0] == 202
