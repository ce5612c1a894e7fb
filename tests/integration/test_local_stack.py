"""The local stack's servers themselves: who may do what, what survives, what is left behind."""

from __future__ import annotations

import pytest

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from streams.settings import Settings
from tests.brokers import connected

pytestmark = pytest.mark.connected


async def test_smoke(nats_server: NatsServer, session_settings: Settings, kafka: Kafka) -> None:
    async with connected(nats_server, session_settings, "syncmaster-bridge") as nc:
        print(await nc.jetstream().account_info())
        print(kafka.bootstrap)
