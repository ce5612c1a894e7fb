"""What JetStream does to those who share a stream does not happen to us."""

from __future__ import annotations

import pytest

from gateway.local.nats_server import NatsServer
from streams.nats_streams import ensure, stream_config, stream_name
from streams.settings import Settings
from tests.brokers import connected

pytestmark = pytest.mark.connected


async def test_the_same_message_id_of_two_principals_is_two_messages(fresh_nats: NatsServer, orbit_settings: Settings) -> None:
    """JetStream drops what has an id that the stream has seen, whoever sent it; so each principal has a stream of its own."""
    async with connected(fresh_nats, orbit_settings, orbit_settings.nats.bridge_user) as bridge:
        for principal in ("c4", "c24"):
            await ensure(bridge, stream_config(orbit_settings, principal))
        for principal in ("c4", "c24"):
            async with connected(fresh_nats, orbit_settings, principal) as client:
                answer = await client.jetstream().publish(f"sm.in.{principal}.x", b"{}", headers={"Nats-Msg-Id": "the same"})
            assert (answer.stream, answer.seq, bool(answer.duplicate)) == (stream_name(principal), 1, False)
