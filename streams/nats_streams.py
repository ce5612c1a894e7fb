"""The streams and buckets that SyncMaster has in JetStream: make, look at, purge. Reading them: `bridge_pull.py`.

One stream per principal, `SM_IN_<principal>` on `sm.in.<principal>.>`: none can fill another's, or suppress its events through the
deduplication window. Streams are full when they are full (`discard: new`, no `max_age`): nothing leaves them but by `purge_below`.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any

import msgspec
from nats.aio.client import Client

from streams.errors import ConfigError, Retriable
from streams.nats_door import ApiError, api
from streams.settings import Settings

CHECKPOINTS = "sm_bridge"
LEASES = "sm_bridge_lease"

_STREAM_NOT_FOUND = 10059
_MESSAGE_NOT_FOUND = 10037
_NAME_IN_USE = 10058


class StreamState(msgspec.Struct, frozen=True):
    """What JetStream says about a stream. Sequences are 0 where there never was a message; an emptied stream has first = last + 1."""

    created: str
    first: int
    last: int
    messages: int
    payload_bytes: int
    bytes_max: int

    @property
    def fill(self) -> float:
        return self.payload_bytes / self.bytes_max if self.bytes_max > 0 else 0.0


def stream_name(principal: str) -> str:
    return f"SM_IN_{principal}"


def publishers(settings: Settings) -> list[str]:
    """Principals that have a stream: those that may publish."""
    return sorted(settings.holders("publish"))


def stream_config(settings: Settings, principal: str) -> dict[str, Any]:
    return {
        "name": stream_name(principal),
        "description": f"events of the principal {principal}, until the log has them",
        "subjects": [f"sm.in.{principal}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": 0,
        "max_msgs": -1,
        "max_bytes": settings.nats.stream_bytes_max,
        "max_msg_size": settings.limits.nats_payload_bytes_max,
        "duplicate_window": int(settings.nats.duplicate_window_s * 1e9),
        "num_replicas": settings.nats.stream_replicas,
        "allow_direct": False,
        "max_consumers": -1,
    }


def bucket_config(bucket: str, replicas: int, ttl_s: float = 0.0) -> dict[str, Any]:
    """A key-value bucket as NATS' own tools make it. Whoever decides by it asks the leader (`nats_cell.py`), not by direct get."""
    ttl_ns = int(ttl_s * 1e9)
    return {
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": ttl_ns,
        "max_msgs_per_subject": 1,
        "max_bytes": 16 << 20,
        "max_msg_size": 64 << 10,
        "duplicate_window": min(ttl_ns, 120 * 10**9) or 120 * 10**9,
        "num_replicas": replicas,
        "deny_delete": True,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


async def ensure(client: Client, config: dict[str, Any]) -> None:
    """Make the stream, or bring an existing one to `config`. Raises ConfigError where JetStream refuses, Retriable where it is away."""
    name = config["name"]
    try:
        found = (await api(client, f"STREAM.INFO.{name}"))["config"]
        if all(found.get(key, _absent(value)) == value for key, value in config.items()):
            return
        await api(client, f"STREAM.UPDATE.{name}", config)
    except ApiError as exc:
        if exc.err_code != _STREAM_NOT_FOUND:
            raise _unusable(name, exc) from exc
        await _create(client, config)


async def _create(client: Client, config: dict[str, Any]) -> None:
    try:
        await api(client, f"STREAM.CREATE.{config['name']}", config)
    except ApiError as exc:
        if exc.err_code != _NAME_IN_USE:  # two bridges start at once, with settings that differ: the next start tells
            raise _unusable(config["name"], exc) from exc


def _absent(value: Any) -> Any:
    """JetStream leaves out what is false, zero or empty."""
    return type(value)() if value is not None else None


def _unusable(name: str, exc: ApiError) -> ConfigError | Retriable:
    if exc.code == HTTPStatus.SERVICE_UNAVAILABLE:
        return Retriable(f"JetStream is not ready: {exc}")
    return ConfigError(
        f"the JetStream stream {name} cannot be made as configured: {exc}; compare `nats stream info {name}` with "
        "nats.* and limits.* in syncmaster.yaml, and see that JetStream is on and the bridge's user may use $JS.API.>"
    )


async def stream_state(client: Client, stream: str) -> StreamState:
    answer = await api(client, f"STREAM.INFO.{stream}")
    state = answer["state"]
    return StreamState(
        created=answer["created"],
        first=state["first_seq"],
        last=state["last_seq"],
        messages=state["messages"],
        payload_bytes=state["bytes"],
        bytes_max=answer["config"].get("max_bytes", -1),
    )


async def message_ns(client: Client, stream: str, sequence: int) -> int | None:
    """JetStream's timestamp of one message, or None where the stream has no such message."""
    try:
        answer = await api(client, f"STREAM.MSG.GET.{stream}", {"seq": sequence})
    except ApiError as exc:
        if exc.err_code == _MESSAGE_NOT_FOUND:
            return None
        raise
    return nanoseconds(answer["message"]["time"])


def nanoseconds(rfc3339: str) -> int:
    """Exact, unlike datetime, which ends at microseconds: `2026-11-23T13:41:50.220310861Z`."""
    whole, _, fraction = rfc3339.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


async def purge_below(client: Client, stream: str, sequence: int) -> None:
    """Remove the messages before `sequence`. The only purge there is.

    To JetStream, and to nats-py's `purge_stream`, sequence 0 means "everything": what a fresh checkpoint would ask for.
    """
    assert sequence > 0, "a purge without a sequence empties the stream"
    await api(client, f"STREAM.PURGE.{stream}", {"seq": sequence})
