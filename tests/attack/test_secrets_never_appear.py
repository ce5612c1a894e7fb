"""One run of everything with secrets in every place that takes one, used rightly and wrongly; then every output is searched for them."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import nkeys
import pytest
from aiohttp import web
from nats.aio.client import Client
from nats.errors import Error as NatsError
from typer.testing import CliRunner

from gateway.cli import main
from gateway.local.kafka import Kafka
from gateway.local.ports import LOOPBACK, choose_port
from tests.attack.outputs import Outputs, collect, read_everything, tell
from tests.harness import Cluster, eventually
from tests.loads import CHARTS, chart, mixed

pytestmark = [pytest.mark.connected, pytest.mark.timeout(240)]

ENVIRONMENT_KEY = f"env-{secrets.token_urlsafe(32)}"
CHANGES: dict[str, Any] = {
    "audit": {"checkpoint_interval_s": 0.5},
    "nats": {"worker_password": None, "worker_seed": {"file": "secrets/worker.seed"}},
    "principals": {"insighthub": {"api_keys": [{"env": "INSIGHTHUB_KEY"}]}},
    "policies": [{"kind": "size_limit", "name": "any-size-at-all", "action": "alert", "bytes_max": 1}],
    "components": {"c8-portal": {"sink": {"bearer": {"file": "secrets/c8-portal.bearer"}}}},
}


class Echo:
    """A component, and an Alertmanager, that answers with what it was sent and never takes anything."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.port = choose_port()

    async def __aenter__(self) -> Echo:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def was_asked(self, *paths: str) -> bool:
        return all(self.requests[path] for path in paths)

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests[request.path] += 1
        return web.Response(status=500, text=request.headers.get("Authorization", "none"))


@pytest.fixture(name="echo")
async def _echo() -> AsyncIterator[Echo]:
    async with Echo() as echo:
        yield echo


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, kafka: Kafka, topic_prefix: str, echo: Echo) -> AsyncIterator[Cluster]:
    env = {
        "INSIGHTHUB_KEY": ENVIRONMENT_KEY,
        "C8_PORTAL_URL": f"http://{LOOPBACK}:{echo.port}/events",
        "SYNCMASTER__WORKER__HTTP_PORT": str(choose_port()),
        "SYNCMASTER__BRIDGE__HTTP_PORT": str(choose_port()),
    }
    alertmanager = {"url": f"http://{LOOPBACK}:{echo.port}", "bearer": {"file": "secrets/alertmanager.bearer"}}
    changes = CHANGES | {"alerts": {"alertmanager": alertmanager}}
    (tmp_path / "secrets").mkdir(mode=0o700)
    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    (tmp_path / "secrets" / "worker.seed").write_bytes(bytes(seed))
    async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix, changes=changes, env=env) as cluster:
        yield cluster


async def test_no_output_holds_a_secret(cluster: Cluster, echo: Echo) -> None:
    """No secret is in a log, an answer, a page, a metric, an audit record, a topic, a store or a command line, whatever was done with it."""
    hidden = configured_secrets(cluster)
    outputs = Outputs()
    await cluster.publish(CHARTS, mixed(5, 60, 10, source="urn:a"))
    async with aiohttp.ClientSession(cluster.url("gateway")) as http:
        await use_keys(cluster, http, hidden, outputs)
        await log_in(cluster, http, hidden, outputs)
        await eventually(lambda: has_failed(cluster, http), 60)
        await eventually(lambda: echo.was_asked("/events", "/api/v2/alerts"), 60)
        await read_everything(cluster, http, outputs)
    await fail_at_nats(cluster, hidden)
    await configure_wrongly(cluster, hidden, outputs)
    await use_commands(cluster, outputs)
    await collect(cluster, outputs)

    assert {"worker-0.log", "gateway.log", "bridge-0.log", "nats.log", "audit.sqlite", "topic audit", "topic control"} <= {
        where.rpartition("/")[2] for where in outputs.found
    }
    assert len(hidden) > 20
    found = outputs.holding(hidden)
    assert not found, "\n".join(found)


async def has_failed(cluster: Cluster, http: aiohttp.ClientSession) -> bool:
    """Whether the state has what the echoing component answered."""
    async with http.get("/v1/sync", params={"component": "c8-portal"}, headers=cluster.key()) as response:
        return any("HTTP 500" in item["last_error"] for item in (await response.json())["items"])


def configured_secrets(cluster: Cluster) -> dict[str, str]:
    hidden = {path.name: path.read_text() for path in (cluster.directory / "secrets").iterdir()}
    seed = hidden["audit-signing.key"]
    hidden["audit-signing.key, otherwise"] = base64.urlsafe_b64decode(f"{seed}=").hex()
    return hidden | {"a key of the environment": ENVIRONMENT_KEY}


def mistyped(secret: str) -> str:
    """What somebody types who nearly knows it."""
    return secret[:-1] + ("A" if secret[-1] != "A" else "B")


# -- what is done with them --------------------------------------------------------------------------------------------------


async def use_keys(cluster: Cluster, http: aiohttp.ClientSession, hidden: dict[str, str], outputs: Outputs) -> None:
    """Publish, make a key, use it, rotate it, revoke it, use it again; and come with keys that are none."""
    event = json.dumps(chart("argo-cd", "9.9.9", "by-http")).encode()
    structured = {"Content-Type": "application/cloudevents+json"}
    await tell(outputs, http.post("/v1/events", data=event, headers=cluster.key() | structured))
    async with http.post(
        "/v1/keys", json={"principal": "insighthub", "description": "for a test"}, headers=cluster.key()
    ) as response:
        assert response.status == 201, await response.text()
        made = await response.json()
    hidden["a made key"] = made["key"].rpartition(f"{made['id']}_")[2]
    await eventually(lambda: is_let_in(http, made["key"]), 20)
    async with http.post(f"/v1/keys/{made['id']}/rotate", json={}, headers=cluster.key()) as response:
        rotated = await response.json()
    hidden["a rotated key"] = rotated["key"].rpartition(f"{rotated['id']}_")[2]
    await tell(outputs, http.post(f"/v1/keys/{made['id']}/revoke", json={"reason": "lost"}, headers=cluster.key()))
    for key in (made["key"], mistyped(rotated["key"]), mistyped(hidden["operator.key"]), ENVIRONMENT_KEY, "nobody's"):
        await tell(outputs, http.get("/v1/status", headers={"Authorization": f"Bearer {key}"}))
        await tell(outputs, http.get("/v1/status", headers={"Authorization": f"Basic {key}"}))
        await tell(outputs, http.get("/v1/status", params={"api_key": key}))
        await tell(outputs, http.get("/v1/status", params={"min_token": key}, headers=cluster.key()))
        await tell(outputs, http.get("/v1/audit", params={"cursor": key}, headers=cluster.key()))
        await tell(outputs, http.post("/v1/keys", json={"principal": "insighthub", "key": key}, headers=cluster.key()))
        await tell(outputs, http.post("/v1/sync", json={"artifact": 7, "reason": [key]}, headers=cluster.key()))


async def is_let_in(http: aiohttp.ClientSession, key: str) -> bool:
    async with http.get("/v1/status", headers={"Authorization": f"Bearer {key}"}) as response:
        return response.status == 200


async def log_in(cluster: Cluster, http: aiohttp.ClientSession, hidden: dict[str, str], outputs: Outputs) -> None:
    """With a right key and with wrong ones; the session that comes of it is a secret too, except to its holder."""
    own = {"Origin": cluster.url("gateway")}
    for key in (mistyped(hidden["operator.key"]), hidden["c8-portal.nats"], "", hidden["operator.key"]):
        async with http.post("/login", data={"key": key}, headers=own, allow_redirects=False) as response:
            outputs.add("login", await response.read())
            if "sm_session" in response.cookies:
                hidden["a session"] = response.cookies["sm_session"].value.rpartition(".")[2]
    assert "a session" in hidden
    await tell(outputs, http.get("/", headers={"Accept": "text/html"}))


async def fail_at_nats(cluster: Cluster, hidden: Mapping[str, str]) -> None:
    """Somebody whose password is wrong; what there is to read of it is in the server's log."""
    client = Client()
    with pytest.raises((NatsError, OSError, TimeoutError)):
        await client.connect(
            cluster.nats.url, user=CHARTS, password=mistyped(hidden[f"{CHARTS}.nats"]), allow_reconnect=False, connect_timeout=2
        )
    await client.close()


async def configure_wrongly(cluster: Cluster, hidden: Mapping[str, str], outputs: Outputs) -> None:
    """Secrets where their places belong, in addresses, under keys that do not exist, beside broken syntax, in a file of another kind."""
    secret = hidden["operator.key"]
    (cluster.directory / "other.key").write_text(secret[:-3])
    texts = [
        f"cluster: x\nprincipals: {{a: {{nats_password: {secret}}}}}\n",
        f"cluster: x\nprincipals: {{a: {{api_keys: [{secret}]}}}}\n",
        f"cluster: x\nprincipals: {{a: {{api_keys: [{{file: k, value: {secret}}}]}}}}\n",
        f"cluster: x\naudit: {{signing_key: {secret}}}\n",
        "cluster: x\naudit: {signing_key: {file: other.key}}\n",
        f"cluster: x\naudit: {{verify_keys: [{{public_key: {secret}x}}]}}\n",
        f"cluster: x\nnats: {{url: 'nats://me:{secret}@{LOOPBACK}:1'}}\n",
        f"cluster: x\ncomponents: {{a: {{sink: {{type: http, url: 'http://me:{secret}@h/', token: {secret}}}}}}}\n",
        f"cluster: x\napi_key: {secret}\n",
        f"cluster: x\nprincipals: {{a: {{nats_password: '{secret}\n",
        f'cluster: x\nprincipals:\n  a: {{api_keys: ["{secret}\\q"]}}\n',
    ]
    file = cluster.directory / "wrong.yaml"
    for number, text in enumerate(texts):
        file.write_text(text)
        for verb in ("check", "config"):
            invoke(outputs, f"{verb} of wrong file {number}", cluster, verb, str(file))
    file.write_text(texts[0])
    for verb in ("worker", "bridge", "gateway"):
        await run(outputs, f"{verb} with a wrong file", cluster, verb, "--config", str(file))
    env = {"SYNCMASTER_NATS_URL": f"nats://me:{secret}@{LOOPBACK}:{choose_port()}"}
    await run(outputs, "a bridge that finds no NATS", cluster, "bridge", env=env, stop_after_s=6)
    file.unlink()


async def use_commands(cluster: Cluster, outputs: Outputs) -> None:
    for command in (["audit", "key"], ["config"], ["check"]):
        invoke(outputs, " ".join(command), cluster, *command)
    for command in (["audit", "verify"], ["audit", "export", str(cluster.directory / "export.jsonl")]):
        await run(outputs, " ".join(command[:2]), cluster, *command)
    key = str(cluster.directory / "secrets" / "operator.key")
    for name in (key, str(cluster.directory / "secrets" / "c8-portal.nats")):
        invoke(outputs, "keys list", cluster, "keys", "list", "--key-file", name)


def invoke(outputs: Outputs, where: str, cluster: Cluster, *arguments: str) -> None:
    """A command that ends at once, in this process."""
    outputs.add(where, CliRunner(env=cluster._env).invoke(main.app, arguments).output)
    assert outputs.found[where], f"{where} said nothing"


async def run(
    outputs: Outputs,
    where: str,
    cluster: Cluster,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    stop_after_s: float = 60,
) -> None:
    """A command of ours; what it prints is an output. One that would run for ever is stopped."""
    line = [sys.executable, "-m", "gateway.cli.main", *arguments]
    try:
        done = await asyncio.to_thread(
            subprocess.run, line, env=cluster._env | dict(env or {}), capture_output=True, timeout=stop_after_s, check=False
        )
        outputs.add(where, done.stdout + done.stderr)
    except subprocess.TimeoutExpired as exc:
        outputs.add(where, (exc.stdout or b"") + (exc.stderr or b""))
    assert outputs.found[where], f"{where} said nothing"
