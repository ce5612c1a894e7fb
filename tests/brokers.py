"""Real brokers for tests: settings whose secrets exist, and NATS clients that connect as a principal does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from gateway.local.nats_server import NatsServer
from gateway.local.secrets import Secrets
from gateway.nats_config.credentials import revealed
from gateway.nats_config.rights import inbox
from streams.errors import Retriable
from streams.settings import Settings
from streams.settings_access import VERBS
from streams.topic_admin import ensure_topics

KAFKA_FOR_TESTS = {
    # Faults are found out sooner than anybody would want in production.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.cleaner.backoff.ms": "500",
}


def orbit(directory: Path, **changes: Any) -> Settings:
    """The Orbit topology in short, with secrets under `directory`. `changes` replace top-level keys, e.g. `kafka={…}`.

    c4 and c24 publish; c8 publishes and receives over HTTP, c20 receives over HTTP; c12 receives from its stream, c28 answers requests.
    """
    secrets = Secrets(directory / "secrets")
    content: dict[str, Any] = {
        "cluster": "test",
        "nats": {f"{who}_password": secrets.ref(f"{who}.nats") for who in ("bridge", "gateway", "worker")},
        "principals": {name: _principal(secrets, name) for name in _PUBLISHERS},
        "roles": ROLES,
        "bindings": BINDINGS,
        "components": {
            "c8": {"sink": {"type": "http", "url": "http://127.0.0.1:1/events"}},
            "c12": {"sink": {"type": "nats", "mode": "publish", "subject": "sync.c12.{kind}"}},
            "c20": {"sink": {"type": "http", "url": "http://127.0.0.1:1/events"}},
            "c28": {"sink": {"type": "nats", "mode": "request", "subject": "sync.c28.{kind}"}},
        },
        "routes": [
            {"name": "all-to-portal", "match": {"artifacts": ["*"]}, "to": ["c8"], "mode": "every"},
            {"name": "all-to-manifestor", "match": {"artifacts": ["*"]}, "to": ["c12"]},
            {"name": "charts-to-store", "match": {"artifacts": ["chart/*"]}, "to": ["c20"], "mode": "every"},
            {"name": "charts-to-kustomize", "match": {"artifacts": ["chart/*"]}, "to": ["c28"], "newest": "semver"},
        ],
    }
    return Settings.model_validate(content | changes)


_PUBLISHERS: dict[str, tuple[str, ...]] = {
    "c4": ("image/*",),
    "c8": ("environment/*",),
    "c12": (),
    "c20": (),
    "c24": ("chart/*",),
    "c28": (),
    "operator": ("*",),
}


ROLES: dict[str, Any] = {
    **{
        f"publisher-of-{name}": {"rules": [{"verbs": ["publish"], "types": ["*"], "artifacts": list(artifacts)}]}
        for name, artifacts in _PUBLISHERS.items()
        if artifacts and name != "operator"
    },
    "viewer": {"rules": [{"verbs": ["read"]}]},
    "operator": {"rules": [{"verbs": list(VERBS)}]},
}
BINDINGS: list[dict[str, Any]] = [
    *({"name": name, "role": f"publisher-of-{name}", "principals": [name]} for name in ("c4", "c8", "c24")),
    {"name": "viewers", "role": "viewer", "groups": ["components"]},
    {"name": "operators", "role": "operator", "principals": ["operator"]},
]


def _principal(secrets: Secrets, name: str) -> dict[str, Any]:
    return {
        "groups": [] if name == "operator" else ["components"],
        "nats_password": secrets.ref(f"{name}.nats"),
        "api_keys": [secrets.ref(f"{name}.key")],
    }


async def topics_made(settings: Settings, within_s: float = 30) -> None:
    """Also on a Kafka that a test before has paused: until its broker is heard again, it tells of none."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await ensure_topics(settings)
        except Retriable:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


class User(Client):
    """A NATS client that keeps what the server complains about, e.g. permissions violations."""

    def __init__(self) -> None:
        super().__init__()
        self.complaints: list[Exception] = []

    async def complain(self, error: Exception) -> None:
        self.complaints.append(error)


@asynccontextmanager
async def connected(server: NatsServer, settings: Settings, user: str, **options: Any) -> AsyncIterator[User]:
    """A NATS client of that user, closed at the end."""
    client = User()
    identity = {"user": user, "password": revealed(settings).passwords[user], "inbox_prefix": inbox(user)}
    await client.connect(server.url, error_cb=client.complain, **identity, **options)
    try:
        yield client
    finally:
        await client.close()
