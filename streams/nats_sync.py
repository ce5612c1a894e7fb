"""What an acknowledgement of JetStream is worth: whether the server syncs to disk before it, and saying so when it does not.

An ordinary user cannot ask the server for it; its monitoring endpoint (`http_port`) can be asked, where `nats.monitor_url` names it.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

import structlog

from streams.settings import Nats

log = structlog.get_logger(__name__)
_TIMEOUT_S = 3.0
_MEND = "set `jetstream { sync_interval: always }` in the server's configuration, or run streams with three replicas"


def weakness(config: dict[str, Any], replicas: int) -> str:
    """Why an acknowledgement means less than "on disk"; empty when it does not. `config` is JetStream's, as `/jsz?config=1` has it."""
    if config.get("sync_always"):
        return ""
    seconds = config.get("sync_interval", 0) / 1e9
    lost = f"JetStream syncs {seconds:.0f} s after it acknowledges"
    if replicas == 1:
        return f"{lost}, and streams have one replica: a power cut can lose acknowledged events; {_MEND}"
    return f"{lost}: only a power cut of a majority of its servers at once can lose acknowledged events"


async def tell_about_sync(nats: Nats) -> None:
    """Log what is known. Never raises: the bridge runs all the same."""
    if nats.monitor_url is None:
        log.warning(
            "cannot tell whether JetStream acknowledges after it has synced to disk: name the server's monitoring endpoint in "
            f"nats.monitor_url, and {_MEND}"
        )
        return
    try:
        config = await asyncio.to_thread(_fetch, f"{nats.monitor_url.rstrip('/')}/jsz?config=1")
    except (OSError, ValueError) as exc:
        log.warning("NATS' monitoring endpoint does not answer; check nats.monitor_url", error=str(exc))
        return
    reason = weakness(config, nats.stream_replicas)
    if reason:
        log.error(reason)
    else:
        log.info("JetStream acknowledges after it has synced to disk")


def _fetch(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the scheme is checked by the settings
        config: dict[str, Any] = json.load(answer).get("config") or {}
    return config
