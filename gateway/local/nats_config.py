"""The nats-server's configuration, written from the settings: who may publish and subscribe to what, and what an acknowledgement means.

Pure. Everything is denied unless a line here allows it. A principal's subjects begin with its name and only it (and the gateway,
which authenticates what comes over HTTP) may publish there: the subject is the identity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.settings import Component, NatsSink, Settings

#: Principals' streams catch `sm.in.<principal>.>`.
INGRESS = "sm.in"
#: The principal that operators use: it may also look at streams and consumers.
OPERATOR = "operator"
_READ_ONLY = (
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.INFO.>",
    "$JS.API.CONSUMER.NAMES.>",
    "$JS.API.CONSUMER.LIST.>",
    "$JS.API.CONSUMER.INFO.>",
)


@dataclass(frozen=True)
class EnvRef:
    """A password that the server takes from its own environment, for configurations that are committed."""

    name: str


@dataclass(frozen=True)
class Permissions:
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    #: For how long a message that this user was sent may be answered; None: not at all.
    answer_within_s: float | None = None


def nats_config(
    settings: Settings,
    passwords: Mapping[str, str | EnvRef],
    *,
    host: str = "127.0.0.1",
    port: int = 4222,
    http_port: int | None = None,
    store_dir: Path = Path("/data"),
) -> str:
    """The file's text. `passwords` has one for each of `users(settings)`."""
    return _lines(
        {
            "server_name": f"syncmaster-{settings.cluster}",
            "listen": f"{host}:{port}",
            **({"http": f"{host}:{http_port}"} if http_port else {}),
            "max_payload": settings.limits.nats_payload_bytes_max,
            # An acknowledgement means on disk: by default the server syncs up to two minutes later.
            "jetstream": {"store_dir": str(store_dir), "sync_interval": "always"},
            "authorization": {
                "default_permissions": _permissions(Permissions()),
                "users": [
                    {"user": user, "password": passwords[user], "permissions": _permissions(permissions)}
                    for user, permissions in users(settings).items()
                ],
            },
        }
    )


def users(settings: Settings) -> dict[str, Permissions]:
    """Everybody who may connect: SyncMaster's own three users and the principals that have a NATS password."""
    own = {
        settings.nats.bridge_user: _bridge(settings),
        settings.nats.gateway_user: _gateway(settings),
        settings.nats.worker_user: _worker(settings),
    }
    if taken := own.keys() & settings.principals.keys():
        raise ValueError(f"principals and SyncMaster's own NATS users must have different names, but both have {sorted(taken)}")
    return own | {
        name: _principal(name, settings.components.get(name))
        for name, principal in settings.principals.items()
        if principal.nats_password
    }


def inbox(user: str) -> str:
    """The prefix of a user's private inboxes; clients set it as their `inbox_prefix`."""
    return f"_INBOX_{user}"


def sync_stream(component: str) -> str:
    """The stream from which a component whose sink is `nats`, mode `publish`, takes its updates."""
    return f"SM_SYNC_{component}"


def _bridge(settings: Settings) -> Permissions:
    # The JetStream API and the KV buckets (leases, checkpoints) with it. It reads what principals publish, and publishes nothing there.
    return Permissions(("$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>"), (f"{inbox(settings.nats.bridge_user)}.>",))


def _gateway(settings: Settings) -> Permissions:
    return Permissions((f"{INGRESS}.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.>"), (f"{inbox(settings.nats.gateway_user)}.>",))


def _worker(settings: Settings) -> Permissions:
    subjects = [
        subject_filter(sink) for component in settings.components.values() if isinstance(sink := component.sink, NatsSink)
    ]
    streams = [
        f"$JS.API.STREAM.{verb}.{sync_stream(name)}"
        for name, component in settings.components.items()
        if _publishes(component)
        for verb in ("CREATE", "UPDATE", "INFO")
    ]
    api = ("$JS.API.INFO",) if streams else ()
    return Permissions((*dict.fromkeys(subjects), *api, *streams), (f"{inbox(settings.nats.worker_user)}.>",))


def _principal(name: str, component: Component | None) -> Permissions:
    publish, subscribe = [f"{INGRESS}.{name}.>"], [f"{inbox(name)}.>"]
    answer_within_s = None
    if component and isinstance(sink := component.sink, NatsSink):
        if sink.mode == "request":
            subscribe.append(subject_filter(sink))
            answer_within_s = sink.timeout_s
        else:
            publish += _consume(sync_stream(name))
    if name == OPERATOR:
        publish += _READ_ONLY
        subscribe.append("_INBOX.>")
    return Permissions(tuple(publish), tuple(subscribe), answer_within_s)


def subject_filter(sink: NatsSink) -> str:
    """The sink's subject for any artifact: `sync.c12.{kind}` is `sync.c12.*`."""
    return sink.subject.replace("{kind}", "*")


def _publishes(component: Component) -> bool:
    return isinstance(component.sink, NatsSink) and component.sink.mode == "publish"


def _consume(stream: str) -> list[str]:
    """What a component asks of its own stream. Both forms of the acknowledgement's subject, the older and that of nats-server 2.15."""
    verbs = ("INFO", "CREATE", "DURABLE.CREATE", "MSG.NEXT")
    asks = [f"$JS.API.CONSUMER.{verb}.{stream}.>" for verb in verbs]
    return [*asks, f"$JS.API.STREAM.INFO.{stream}", f"$JS.ACK.{stream}.>", f"$JS.ACK.*.*.{stream}.>", "$JS.FC.>"]


def _permissions(permissions: Permissions) -> dict[str, Any]:
    answer = permissions.answer_within_s
    return {
        "publish": {"allow": list(permissions.publish)} if permissions.publish else {"deny": [">"]},
        "subscribe": {"allow": list(permissions.subscribe)} if permissions.subscribe else {"deny": [">"]},
        **({"allow_responses": {"max": 1, "expires": f"{answer:g}s"}} if answer else {}),
    }


def _lines(items: Mapping[str, Any], indent: str = "") -> str:
    return "".join(f"{indent}{key}: {_render(value, indent)}\n" for key, value in items.items())


def _render(value: Any, indent: str) -> str:
    """The server's own notation. Strings are quoted, so that nothing in them is taken for a variable."""
    inner = indent + "  "
    match value:
        case dict():
            return "{\n" + _lines(value, inner) + indent + "}"
        case list():
            return "[\n" + "".join(f"{inner}{_render(item, inner)}\n" for item in value) + indent + "]"
        case EnvRef(name):
            return f"${name}"
        case _:
            return json.dumps(value, ensure_ascii=False)
