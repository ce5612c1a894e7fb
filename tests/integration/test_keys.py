"""API keys on two real gateways over a real log: what one makes or revokes, the other knows within a second."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from gateway.sessions import SESSION_COOKIE
from streams.settings import Settings
from tests.brokers import orbit, topics_made
from tests.integration.test_control import commands
from tests.integration.test_gateway_process import gateway

pytestmark = pytest.mark.connected
WITHIN_S = 1.0


@pytest.fixture
async def settings(
    kafka: Kafka, nats_server: NatsServer, session_settings: Settings, topic_prefix: str, tmp_path: Path
) -> Settings:
    log = {"bootstrap": kafka.bootstrap, "topic_prefix": topic_prefix, "partitions": 2}
    nats = session_settings.nats.model_copy(update={"url": nats_server.url}).model_dump()
    settings = orbit(tmp_path, kafka=log, nats=nats, gateway={"data_dir": tmp_path / "gateway", "port": 0, "keys_stale_s_max": 3})
    await topics_made(settings)
    return settings


def another(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"data_dir": tmp_path / "another"})})


async def post(session: aiohttp.ClientSession, path: str, **body: Any) -> dict[str, Any]:
    async with session.post(path, json=body) as response:
        assert response.status in (200, 201), await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def asked(session: aiohttp.ClientSession, key: str, **headers: str) -> tuple[int, str]:
    given = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession(session._base_url) as plain,
        plain.get("/v1/components", headers=given | headers) as response,
    ):
        return response.status, (await response.json()).get("code", "")


async def becomes(session: aiohttp.ClientSession, key: str, wanted: tuple[int, str], **headers: str) -> float:
    """How long it took until the gateway answered so."""
    began = time.monotonic()
    while (found := await asked(session, key, **headers)) != wanted:
        assert time.monotonic() - began < 10, found
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_keys_are_those_of_all_gateways(settings: Settings, tmp_path: Path) -> None:
    """Made here it opens there, with its sessions; rotated, both open; revoked here, key and session are dead there: each within a second."""
    async with gateway(settings) as here, gateway(another(settings, tmp_path)) as there:
        made = await post(here, "/v1/keys", principal="c8", scopes=["read"])
        assert await becomes(there, made["key"], (200, "")) < WITHIN_S
        new = await post(there, f"/v1/keys/{made['id']}/rotate", overlap_s=3600)
        assert await becomes(here, new["key"], (200, "")) < WITHIN_S
        assert await asked(here, made["key"]) == (200, "")
        async with here.post("/login", data={"key": made["key"]}, allow_redirects=False) as response:
            cookie = f"{SESSION_COOKIE}={response.cookies[SESSION_COOKIE].value}"
        assert await asked(there, "", Cookie=cookie) == (200, "")
        await post(here, f"/v1/keys/{made['id']}/revoke", reason="test")
        assert await becomes(there, made["key"], (401, "auth.key_revoked")) < WITHIN_S
        assert await becomes(there, "", (401, "auth.session_ended"), Cookie=cookie) < WITHIN_S
        assert await asked(there, new["key"]) == (200, "")
    async with gateway(settings) as again:
        assert await asked(again, made["key"]) == (401, "auth.key_revoked")
        assert await asked(again, new["key"]) == (200, "")
    told = [command.code for _, command in await commands(settings)]
    assert {code: told.count(code) for code in ("key.created", "key.rotated", "key.revoked")} == {
        "key.created": 1,
        "key.rotated": 1,
        "key.revoked": 1,
    }
    assert "auth.key_revoked" in told


async def test_a_gateway_without_the_log_believes_no_old_key(settings: Settings, kafka: Kafka) -> None:
    """Cut off from the log it serves for as long as it was told to, then refuses made keys; the configuration's hold; then all is well."""
    async with gateway(settings) as session:
        made = await post(session, "/v1/keys", principal="c8")
        kafka.pause()
        try:
            assert await asked(session, made["key"]) == (200, "")
            waited_s = await becomes(session, made["key"], (503, "auth.keys_stale"))
            assert waited_s < settings.gateway.keys_stale_s_max + 1
            key = settings.principals["c8"].api_keys[0].reveal()
            assert await asked(session, key) == (200, "")
        finally:
            kafka.resume()
        await becomes(session, made["key"], (200, ""))
