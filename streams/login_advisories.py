"""What nats-server says about logins that it refused: each is heard by one of the gateways. What it means: `gateway/nats_refusals.py`.

The server says it in its system account; the configuration that SyncMaster writes lets the gateway's user hear it under a subject of ours,
and nobody else (`gateway/nats_config/accounts.py`). The connection is one of its own, so that a flood is not in the way of events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from streams.nats_door import connect, tell
from streams.settings import Nats

log = structlog.get_logger(__name__)

#: The wildcard stands for the server. It is also what keeps a component from forging these: it may make a push consumer that delivers
#: here, but JetStream delivers only to who subscribes to that very subject.
REFUSED_LOGINS = "sm.auth.refused.*"
_QUEUE = "syncmaster-gateways"
_WAITING_MAX = 10_000
_WAITING_BYTES_MAX = 8 << 20
_DENIED = "permissions violation for subscription"


class LoginAdvisories:
    """`take` gets each as it came, and must neither wait nor fail. Nothing is heard while NATS is away; what came then is lost."""

    def __init__(self, settings: Nats, take: Callable[[bytes], None]) -> None:
        self._settings = settings
        self._take = take
        self._client = Client()
        self._listening: asyncio.Task[None] | None = None
        self._denied = False

    async def start(self) -> None:
        """Begin to listen; does not wait for NATS to be there."""
        self._listening = asyncio.create_task(self._listen(), name="login-advisories")

    async def aclose(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if not self._client.is_closed:
            await self._client.close()

    async def _listen(self) -> None:
        nats = self._settings
        name = "syncmaster-gateway-advisories"
        await connect(self._client, nats, nats.gateway_user, nats.gateway_password, name=name, on_error=self._complain)
        limits = {"pending_msgs_limit": _WAITING_MAX, "pending_bytes_limit": _WAITING_BYTES_MAX}
        await self._client.subscribe(REFUSED_LOGINS, queue=_QUEUE, cb=self._arrived, **limits)

    async def _arrived(self, message: Msg) -> None:
        self._take(message.data)

    async def _complain(self, exc: Exception) -> None:
        """A server with an older configuration denies the subscription, and again after each reconnect: that is said once."""
        if _DENIED not in str(exc).lower():
            await tell(exc)
        elif not self._denied:
            self._denied = True
            log.warning(
                "NATS does not tell which logins it refuses, so they are in its own log only; "
                "write its configuration anew with `syncmaster nats-config`, reload it, and restart the gateways"
            )
