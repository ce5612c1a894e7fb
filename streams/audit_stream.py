"""Audit checkpoints in NATS: the stream `SM_AUDIT`, from which parties outside take copies. What one is: `tables/audit_checkpoint.py`.

It can be neither purged nor thinned out; when it is full, the oldest leave. The log has all of them, so NATS being away delays nobody.
"""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client

from streams.errors import ConfigError, Retriable
from streams.nats_door import ApiError, connect, request
from streams.nats_streams import ensure
from streams.settings import Settings

AUDIT_STREAM = "SM_AUDIT"
SUBJECT = "sm.audit.checkpoint"
_BYTES_MAX = 64 << 20
_DAY_NS = 86_400 * 10**9


def stream_config(settings: Settings) -> dict[str, Any]:
    return {
        "name": AUDIT_STREAM,
        "description": "signed checkpoints of the audit chains, for those who hold copies",
        "subjects": [f"{SUBJECT}.*"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": settings.kafka.audit_retention_days * _DAY_NS,
        "max_msgs": -1,
        "max_bytes": _BYTES_MAX,
        "num_replicas": settings.nats.stream_replicas,
        "deny_delete": True,
        "deny_purge": True,
    }


class CheckpointPublisher:
    """As the worker's user. Connects at the first checkpoint."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None

    async def publish(self, partition: int, ident: str, payload: bytes) -> None:
        """Returns when JetStream has it. Raises Retriable."""
        try:
            client = await self._connected()
            await request(client, f"{SUBJECT}.{partition}", payload, {"Nats-Msg-Id": ident, "Nats-Expected-Stream": AUDIT_STREAM})
        except (ApiError, ConfigError) as exc:
            await self.aclose()
            raise Retriable(str(exc)) from exc

    async def _connected(self) -> Client:
        if self._client is None or self._client.is_closed:
            nats = self._settings.nats
            client = Client()
            await connect(client, nats, nats.worker_user, nats.worker_password, name="syncmaster audit", reconnect=False)
            self._client = client
            await ensure(client, stream_config(self._settings))
        return self._client

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
