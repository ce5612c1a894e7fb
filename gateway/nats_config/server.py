"""The whole file: where the server listens, what an acknowledgement means, TLS, and the accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.nats_config.accounts import accounts
from gateway.nats_config.credentials import Credentials, entries, maps_certificates, require_distinct
from gateway.nats_config.notation import lines
from streams.errors import ConfigError
from streams.settings import Settings


def nats_config(
    settings: Settings,
    credentials: Credentials,
    *,
    host: str = "127.0.0.1",
    port: int = 4222,
    http_port: int | None = None,
    store_dir: Path = Path("/data"),
) -> str:
    """The file's text. Raises ConfigError for a user that could not log in, or that the server could not tell from another."""
    require_distinct(settings)
    return lines(
        {
            "server_name": f"syncmaster-{settings.cluster}",
            "listen": f"{host}:{port}",
            **({"http": f"{host}:{http_port}"} if http_port else {}),
            "max_payload": settings.limits.nats_payload_bytes_max,
            # An acknowledgement means on disk: by default the server syncs up to two minutes later.
            "jetstream": {"store_dir": str(store_dir), "sync_interval": "always"},
            **_tls(settings),
            "accounts": accounts(settings, lambda user: entries(settings, credentials, user)),
        }
    )


def _tls(settings: Settings) -> dict[str, Any]:
    tls, mapped = settings.nats.tls, maps_certificates(settings)
    if tls is None or tls.server is None:
        if mapped:
            raise ConfigError("principals have certificates, but the server has none; give it one in `nats.tls.server`")
        return {}
    block: dict[str, Any] = {
        "cert_file": str(tls.server.cert.absolute()),
        "key_file": str(tls.server.key.absolute()),
        "ca_file": str(tls.ca.absolute()),
        # Ours begin with TLS, so that nobody between can talk them out of it; others may be told by the server, as they are used to.
        "handshake_first": "auto",
    }
    return {"tls": block | ({"verify_and_map": True} if mapped else {})}
