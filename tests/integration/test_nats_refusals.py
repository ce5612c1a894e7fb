"""Logins that a real nats-server refuses: heard by one of the gateways, and in the audit in the measure of those over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import nkeys
import pytest
from structlog.testing import capture_logs

from gateway.cli.api import Api
from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from gateway.nats_refusals import CODE, refusal_of
from streams.login_advisories import REFUSED_LOGINS, LoginAdvisories
from streams.settings import Settings
from tests.brokers import orbit, topics_made
from tests.harness import Cluster, eventually
from tests.integration.test_control import commands
from tests.integration.test_gateway_process import gateway
from tests.nats_logins import attempt

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]
REFUSED = "-ERR 'Authorization Violation'"
PORTAL = "c8-portal"
FLOOD = 500


def nkey() -> tuple[str, str]:
    """Public half and seed."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return nkeys.from_seed(bytearray(seed)).public_key.decode(), bytes(seed).decode()


async def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        await asyncio.sleep(0.02)


async def listening(server: NatsServer, listeners: int, within_s: float = 20) -> None:
    """Until so many have subscribed, as the server sees it."""

    def connections() -> list[dict[str, Any]]:
        with urlopen(f"{server.monitoring_url}/connz?subs=1", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["connections"]
            return found

    deadline = time.monotonic() + within_s
    while sum(REFUSED_LOGINS in one.get("subscriptions_list", []) for one in await asyncio.to_thread(connections)) < listeners:
        assert time.monotonic() < deadline, "they do not listen"
        await asyncio.sleep(0.02)


# -- in the audit ------------------------------------------------------------------------------------------------------------


def told(items: list[dict[str, Any]], remote: str) -> list[str]:
    return [item["detail"] for item in reversed(items) if item["remote"] == remote]


def counted(details: list[str]) -> int:
    return sum(int(found[1]) if (found := re.match(r"(\d+) within", detail)) else 1 for detail in details)


async def test_refused_logins_are_in_the_audit(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> None:
    """No credentials, wrong passwords and seeds, from where and as whom; of a flood every attempt, in two records per window."""
    (public, _), (stranger, seed) = nkey(), nkey()
    changes = {"principals": {PORTAL: {"nats_nkeys": [public]}}}
    async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix, components=(PORTAL,), changes=changes) as cluster:
        api, port = Api(cluster.url("gateway"), cluster.key()["Authorization"].partition(" ")[2]), cluster.nats.port

        async def audited() -> list[dict[str, Any]]:
            return await asyncio.to_thread(lambda: list(api.items("/v1/audit", {"decision": "login_refused"})))

        async def heard() -> bool:
            """The gateway may still be connecting: nothing is heard before."""
            await asyncio.to_thread(attempt, port, "127.0.0.9")
            return bool(await audited())

        await eventually(heard, 60)
        assert attempt(port, "127.0.0.2") == REFUSED
        assert attempt(port, "127.0.0.3", user=PORTAL, **{"pass": "hunter2hunter2"}) == REFUSED
        assert attempt(port, "127.0.0.4", nkey=stranger, seed=seed) == REFUSED
        assert attempt(port, "127.0.0.5", nkey=public, seed=seed) == REFUSED
        assert attempt(port, "127.0.0.6", user="hunter2hunter2", **{"pass": ""}) == REFUSED
        began = time.monotonic()
        answers = await asyncio.to_thread(
            lambda: {attempt(port, "127.0.0.7", user=PORTAL, name="n" * 1000) for _ in range(FLOOD)}
        )
        windows = 1 + int((time.monotonic() - began) // 10)
        assert answers == {REFUSED}

        async def whole() -> list[dict[str, Any]]:
            items = await audited()
            return items if counted(told(items, "127.0.0.7")) >= FLOOD else []

        items = await eventually(whole, 60)
        assert counted(told(items, "127.0.0.7")) == FLOOD
        assert len(told(items, "127.0.0.7")) <= 2 * windows
    why = "(Authentication Failure)"
    assert told(items, "127.0.0.2") == [f"at NATS {why}"]
    assert told(items, "127.0.0.3") == [f"at NATS as {PORTAL} {why}"]
    assert told(items, "127.0.0.4") == [f"at NATS as {stranger} {why}"]
    assert told(items, "127.0.0.5") == [f"at NATS as {public} {why}"]
    assert told(items, "127.0.0.6") == [f"at NATS {why}"]
    assert {(item["code"], item["principal"], item["artifact"]) for item in items} == {(CODE, "", "")}


# -- several gateways --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def settings(fresh_nats: NatsServer, kafka: Kafka, orbit_settings: Settings, topic_prefix: str, tmp_path: Path) -> Settings:
    log = {"bootstrap": kafka.bootstrap, "topic_prefix": topic_prefix, "partitions": 2}
    nats = orbit_settings.nats.model_copy(update={"url": fresh_nats.url}).model_dump()
    settings = orbit(tmp_path, kafka=log, nats=nats, gateway={"data_dir": tmp_path / "gateway", "port": 0})
    await topics_made(settings)
    return settings


async def test_each_refusal_is_recorded_by_one_gateway(fresh_nats: NatsServer, settings: Settings, tmp_path: Path) -> None:
    """Two gateways listen, and no refusal is told twice."""
    elsewhere = settings.gateway.model_copy(update={"data_dir": tmp_path / "another"})
    remotes = {f"127.0.1.{n}" for n in range(1, 21)}

    async def recorded() -> list[str]:
        return [command.remote for _, command in await commands(settings) if command.code == CODE]

    async with gateway(settings), gateway(settings.model_copy(update={"gateway": elsewhere})):
        await listening(fresh_nats, 2)
        for remote in sorted(remotes):
            await asyncio.to_thread(attempt, fresh_nats.port, remote)

        async def all_of_them() -> bool:
            return set(await recorded()) >= remotes

        await eventually(all_of_them, 30)
    assert sorted(await recorded()) == sorted(remotes)


# -- hearing -----------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def hearing(settings: Settings, **nats: Any) -> AsyncIterator[tuple[LoginAdvisories, list[str]]]:
    """Somebody who listens, and the details of what came."""
    found: list[str] = []

    def take(advisory: bytes) -> None:
        refusal = refusal_of(advisory, settings.principals)
        assert refusal is not None
        found.append(refusal.detail)

    advisories = LoginAdvisories(settings.nats.model_copy(update=nats), take)
    await advisories.start()
    try:
        yield advisories, found
    finally:
        await advisories.aclose()


async def test_a_server_that_comes_back_is_heard_again(fresh_nats: NatsServer, orbit_settings: Settings) -> None:
    """After a crash of nats-server, without help."""
    async with hearing(orbit_settings, url=fresh_nats.url) as (_, found):
        await listening(fresh_nats, 1)
        fresh_nats.kill9()
        fresh_nats.start()
        await listening(fresh_nats, 1)
        attempt(fresh_nats.port, user="c4")
        await until(lambda: bool(found))


async def test_a_server_that_does_not_tell_is_said_once(fresh_nats: NatsServer, orbit_settings: Settings) -> None:
    """Where the user may not subscribe there is one line with the next step, also after a reconnect; and nothing is heard."""
    operator = {"gateway_user": "operator", "gateway_password": orbit_settings.principals["operator"].nats_password}

    def said() -> int:
        return sum("does not tell which logins it refuses" in line["event"] for line in logs)

    with capture_logs() as logs:
        async with hearing(orbit_settings, url=fresh_nats.url, **operator) as (advisories, found):
            await until(lambda: said() == 1)
            fresh_nats.kill9()
            fresh_nats.start()
            await until(lambda: advisories._client.stats["reconnects"] == 1 and advisories._client.is_connected)
            await advisories._client.flush()
            attempt(fresh_nats.port, user="c4")
            await advisories._client.flush()
    assert (said(), found) == (1, [])
