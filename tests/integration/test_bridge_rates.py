"""Rate limits over crashes: the bridge's decisions are a function of the stream, whoever makes them and however often."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from streams.nats_streams import message_ns, stream_name
from streams.rate_limits import RateLimits
from streams.settings import Settings
from streams.settings_policies import RateLimit
from tests.bridge_process import bridge_process
from tests.bridging import bridge_settings, event, eventually, ingresses, publish, read_events, stored_checkpoint
from tests.brokers import connected

pytestmark = pytest.mark.connected

STREAM = stream_name("c24")
ADMIN = "syncmaster-bridge"
EVENTS = 600
SLOW = RateLimit(name="slow", kind="rate_limit", events_per_s=200, burst_events=50, principals=("c24",))


async def test_bridges_that_die_find_the_same_events_over_the_rate(
    orbit_settings: Settings, fresh_nats: NatsServer, kafka: Kafka, topic_prefix: str, tmp_path: Path
) -> None:
    """Two are killed on the way: every copy of a record has the same stamp, and it is the one that the stream's own times lead to."""
    settings = bridge_settings(orbit_settings, fresh_nats, kafka, topic_prefix, pull_messages_max=20)
    settings = settings.model_copy(update={"policies": (SLOW,)})
    async with connected(fresh_nats, settings, "c24") as client, connected(fresh_nats, settings, ADMIN) as admin:

        async def wait_stored(sequence: int) -> None:
            async def there() -> bool:
                checkpoint = await stored_checkpoint(admin, STREAM)
                return checkpoint is not None and checkpoint.sequence >= sequence

            await eventually(there, 30)

        with bridge_process(settings, tmp_path):
            await wait_stored(0)
        await publish(client, "c24", (event(number) for number in range(EVENTS)))
        for target in (100, 300, EVENTS):
            with bridge_process(settings, tmp_path):
                await wait_stored(target)
        stamps: dict[int, set[str]] = {}
        for found in ingresses(await read_events(settings)).values():
            for ingress in found:
                stamps.setdefault(ingress.sequence, set()).add(ingress.over)
        limits, expected = RateLimits((SLOW,)), {}
        for sequence in range(1, EVENTS + 1):
            ns = await message_ns(admin, STREAM, sequence)
            assert ns is not None
            expected[sequence] = {limits.over(ns)}
    assert stamps == expected
    assert {"slow"} in stamps.values()
    assert {""} in stamps.values()
