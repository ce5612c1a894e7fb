"""The connection to NATS: user, private inbox, what to do when it is away. Streams and buckets: `nats_streams.py`; CAS: `nats_cell.py`.

A request while the server is away fails at once instead of being buffered: a delayed compare-and-set or purge helps nobody.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client

from streams.errors import ConfigError, Retriable, SyncMasterError
from streams.logs import AWAY
from streams.settings import Nats, SecretRef

log = structlog.get_logger(__name__)
C = TypeVar("C", bound=Client)

REQUEST_TIMEOUT_S = 5.0
OnError = Callable[[Exception], Awaitable[None]]
_PING_INTERVAL_S = 5
_RECONNECT_WAIT_S = 0.5


async def tell(exc: Exception) -> None:
    """What a connection does about the server's complaints, unless it knows better."""
    AWAY.warning(
        log, "nats", "NATS client error; check nats.url, the user's password and its permissions", error=str(exc) or repr(exc)
    )


class ApiError(SyncMasterError):
    """JetStream's own refusal. `err_code` is stable (e.g. 10059: no such stream)."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"JetStream refused: {description} (code {code}, err_code {err_code})")
        self.code = code
        self.err_code = err_code


def inbox_prefix(user: str) -> str:
    """Each user's replies arrive where nobody else may listen; the server's permissions name the same prefix."""
    return f"_INBOX_{user}"


async def connect(
    client: C,
    nats: Nats,
    user: str,
    password: SecretRef | None,
    *,
    name: str,
    reconnect: bool = True,
    on_closed: Callable[[], object] = bool,
    on_error: OnError = tell,
) -> C:
    """Connect `client`. With `reconnect` it waits for the server without end, now and later; otherwise it raises Retriable.

    Even then the server may send a client away for good, e.g. when its password has changed: `on_closed` tells.
    SyncMaster's own users may have a seed or a certificate instead of the password. Without any of these it connects without a
    user: a server without authorization, as tests and first steps have it. Raises ConfigError for a secret that cannot be read.
    """

    async def closed() -> None:
        on_closed()

    credentials = _login(nats, user, password) | _encryption(nats, user)
    try:
        await client.connect(
            servers=nats.url.split(","),
            name=name,
            inbox_prefix=inbox_prefix(user),
            error_cb=on_error,
            closed_cb=closed,
            allow_reconnect=reconnect,
            max_reconnect_attempts=-1 if reconnect else 1,
            reconnect_time_wait=_RECONNECT_WAIT_S,
            connect_timeout=2,
            ping_interval=_PING_INTERVAL_S,
            max_outstanding_pings=2,
            pending_size=0,
            **credentials,
        )
    except (nats_errors.Error, OSError, TimeoutError) as exc:
        if client._transport is not None:
            client._transport.close()  # nats-py leaves it open when the first attempt was the last
        raise Retriable(f"NATS is away: {exc!r}") from exc
    return client


def _login(nats: Nats, user: str, password: SecretRef | None) -> dict[str, Any]:
    if seed := nats.seed(user):
        return {"nkeys_seed_str": seed.reveal()}
    return {"user": user, "password": password.reveal()} if password else {}


def _encryption(nats: Nats, user: str) -> dict[str, Any]:
    """TLS from the first byte: else the server would be asked in the clear whether it wants TLS, and told the password if not."""
    if nats.tls is None:
        return {}
    certificate = nats.certificate(user)
    try:
        context = ssl.create_default_context(cafile=nats.tls.ca)
        if certificate is not None:
            context.load_cert_chain(certificate.cert, certificate.key)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"the certificates for the NATS user {user} cannot be used ({exc}); check the files under nats.tls"
        ) from None
    return {"tls": context, "tls_handshake_first": True}


def server_id(client: Client) -> str:
    """Another one after each start of the server; empty where it is not known."""
    return str(getattr(client, "_server_info", {}).get("server_id", ""))


async def request(client: Client, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> dict[str, Any]:
    """One JetStream request. Raises ApiError where the server refuses, Retriable where nobody (or nobody in time) answers."""
    try:
        reply = await client.request(subject, payload, timeout=REQUEST_TIMEOUT_S, headers=headers)
    except (nats_errors.Error, OSError, TimeoutError) as exc:
        raise Retriable(f"NATS gave no answer on {subject}: {exc!r}") from exc
    answer: dict[str, Any] = json.loads(reply.data)
    if error := answer.get("error"):
        raise ApiError(error.get("code", 0), error.get("err_code", 0), error.get("description", ""))
    return answer


async def api(client: Client, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """`verb` is what stands behind `$JS.API.`, e.g. `STREAM.INFO.SM_IN_c4`."""
    return await request(client, f"$JS.API.{verb}", json.dumps(body).encode() if body is not None else b"")
