"""The nats-server's configuration, written from the settings: who may publish and subscribe to what, and what an acknowledgement means.

Pure. Two fences, one behind the other:

- *Permissions*, per user. Everything is denied unless a line here allows it. A principal's subjects begin with its name, and only
  it (and the gateway, which authenticates what comes over HTTP) may publish there: the subject is the identity.
- *Accounts*, one per principal, beside the one that holds the streams. Permissions alone do not keep that promise: a server checks
  where a client publishes, never where it asks the answer to be sent. With everybody in one account, c4 could publish under
  its own prefix with `sm.in.c24.x` as reply subject, and the stream of c24 would store the acknowledgement; a pull of messages
  stored whole events there. Between accounts the server replaces reply subjects, so they lead back to the asker or nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streams.audit_stream import AUDIT_STREAM
from streams.audit_stream import SUBJECT as CHECKPOINTS
from streams.settings import Component, NatsSink, Settings

#: Principals' streams catch `sm.in.<principal>.>`.
INGRESS = "sm.in"
#: The account of SyncMaster's own users, with the streams. A principal's account is called as the principal.
ACCOUNT = "SYNCMASTER"
#: The principal that operators use: it may also look at streams and consumers.
OPERATOR = "operator"
_LOOK = (
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
class Rights:
    """What one user may do."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    #: Subjects of other users' requests that it answers (and subscribes to).
    answer: tuple[str, ...] = ()
    answer_within_s: float = 5.0


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
    own, principals = own_users(settings), principal_users(settings)
    return _lines(
        {
            "server_name": f"syncmaster-{settings.cluster}",
            "listen": f"{host}:{port}",
            **({"http": f"{host}:{http_port}"} if http_port else {}),
            "max_payload": settings.limits.nats_payload_bytes_max,
            # An acknowledgement means on disk: by default the server syncs up to two minutes later.
            "jetstream": {"store_dir": str(store_dir), "sync_interval": "always"},
            "accounts": {
                ACCOUNT: {
                    "jetstream": "enabled",
                    "users": [_user(name, passwords[name], rights) for name, rights in own.items()],
                    "exports": [export for name, rights in principals.items() for export in _exports(name, rights)],
                    "imports": [
                        {"service": {"account": name, "subject": subject}}
                        for name, rights in principals.items()
                        for subject in rights.answer
                    ],
                },
                **{name: _account(name, passwords[name], rights) for name, rights in principals.items()},
            },
        }
    )


def users(settings: Settings) -> dict[str, Rights]:
    """Everybody who may connect: SyncMaster's own three users and the principals that have a NATS password."""
    own, principals = own_users(settings), principal_users(settings)
    if taken := own.keys() & principals.keys():
        raise ValueError(f"principals and SyncMaster's own NATS users must have different names, but both have {sorted(taken)}")
    return own | principals


def own_users(settings: Settings) -> dict[str, Rights]:
    own = settings.nats
    return {
        own.bridge_user: _bridge(own.bridge_user),
        own.gateway_user: _gateway(own.gateway_user),
        own.worker_user: _worker(own.worker_user, settings.components),
    }


def principal_users(settings: Settings) -> dict[str, Rights]:
    return {
        name: _principal(name, settings.components.get(name), is_witness=name in settings.audit.witnesses)
        for name, principal in settings.principals.items()
        if principal.nats_password
    }


def inbox(user: str) -> str:
    """The prefix of a user's private inboxes; clients set it as their `inbox_prefix`."""
    return f"_INBOX_{user}"


def sync_stream(component: str) -> str:
    """The stream from which a component whose sink is `nats`, mode `publish`, takes its updates."""
    return f"SM_SYNC_{component}"


def subject_filter(sink: NatsSink) -> str:
    """The sink's subject for any artifact: `sync.c12.{kind}` is `sync.c12.*`."""
    return sink.subject.replace("{kind}", "*")


def _bridge(user: str) -> Rights:
    # The JetStream API, and the KV buckets with it (leases, checkpoints). It reads what principals publish, and publishes nothing there.
    return Rights(("$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>"), (f"{inbox(user)}.>",))


def _gateway(user: str) -> Rights:
    # Of the bridge's checkpoints it may read single entries: the incarnations of streams, for the tokens that it returns.
    read = ("$JS.API.INFO", "$JS.API.STREAM.INFO.>", "$JS.API.STREAM.MSG.GET.KV_sm_bridge")
    return Rights((f"{INGRESS}.>", *read), (f"{inbox(user)}.>",))


def _worker(user: str, components: Mapping[str, Component]) -> Rights:
    sinks = {name: sink for name, component in components.items() if isinstance(sink := component.sink, NatsSink)}
    streams = [sync_stream(name) for name, sink in sinks.items() if sink.mode == "publish"]
    manage = [f"$JS.API.STREAM.{verb}.{stream}" for stream in (*streams, AUDIT_STREAM) for verb in ("CREATE", "UPDATE", "INFO")]
    manage += [f"$JS.API.CONSUMER.{verb}.{stream}.>" for stream in streams for verb in ("INFO", "CREATE", "DURABLE.CREATE")]
    subjects = [*dict.fromkeys(map(subject_filter, sinks.values())), f"{CHECKPOINTS}.*"]
    return Rights((*subjects, "$JS.API.INFO", *manage), (f"{inbox(user)}.>",))


def _principal(name: str, component: Component | None, *, is_witness: bool) -> Rights:
    publish, subscribe = [f"{INGRESS}.{name}.>"], [f"{inbox(name)}.>"]
    sink = component.sink if component else None
    if is_witness:
        publish += _consume(AUDIT_STREAM)
    if name == OPERATOR:
        publish += _LOOK
        subscribe.append("_INBOX.>")
    if not isinstance(sink, NatsSink):
        return Rights(tuple(publish), tuple(subscribe))
    if sink.mode == "publish":
        return Rights((*publish, *_consume(sync_stream(name))), tuple(subscribe))
    return Rights(tuple(publish), tuple(subscribe), (subject_filter(sink),), sink.timeout_s)


def _consume(stream: str) -> tuple[str, ...]:
    """What a component asks of its own stream. Both forms of the acknowledgement's subject, the older and that of nats-server 2.15."""
    verbs = ("INFO", "CREATE", "DURABLE.CREATE", "MSG.NEXT")
    asks = (f"$JS.API.CONSUMER.{verb}.{stream}.>" for verb in verbs)
    return (*asks, f"$JS.API.STREAM.INFO.{stream}", f"$JS.ACK.{stream}.>", f"$JS.ACK.*.*.{stream}.>")


def _account(name: str, password: str | EnvRef, rights: Rights) -> dict[str, Any]:
    imports = [{"service": {"account": ACCOUNT, "subject": subject}, "to": _locally(subject)} for subject in rights.publish]
    return {
        "users": [_user(name, password, replace(rights, publish=tuple(map(_locally, rights.publish))))],
        "exports": [{"service": subject, "accounts": [ACCOUNT]} for subject in rights.answer],
        "imports": imports,
        # The server answers `$JS.API` itself, for the account that asks, which has no streams: this leads it to ours. Clients need not
        # know; permissions are checked after it.
        "mappings": {"$JS.API.>": _locally("$JS.API.>")},
    }


def _locally(subject: str) -> str:
    """What an imported subject is called within a principal's account."""
    return subject.replace("$JS.API.", f"{ACCOUNT}.API.")


def _exports(name: str, rights: Rights) -> list[dict[str, Any]]:
    """What the principal publishes is a service of ours. Only a pull of messages has more than one answer."""
    return [
        {"service": subject, "accounts": [name], **({"response_type": "stream"} if ".MSG.NEXT." in subject else {})}
        for subject in rights.publish
    ]


def _user(name: str, password: str | EnvRef, rights: Rights) -> dict[str, Any]:
    permissions: dict[str, Any] = {
        "publish": {"allow": list(rights.publish)},
        "subscribe": {"allow": [*rights.subscribe, *rights.answer]},
    }
    if rights.answer:
        permissions["allow_responses"] = {"max": 1, "expires": f"{rights.answer_within_s:g}s"}
    return {"user": name, "password": password, "permissions": permissions}


def _lines(items: Mapping[str, Any], indent: str = "") -> str:
    return "".join(f"{indent}{_key(key)}: {_render(value, indent)}\n" for key, value in items.items())


def _key(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key)


def _render(value: Any, indent: str) -> str:
    """The server's own notation. Strings are quoted, so that nothing in them is taken for a variable."""
    inner = indent + "  "
    match value:
        case dict():
            return "{\n" + _lines(value, inner) + indent + "}"
        case list():
            many = any(isinstance(item, dict) for item in value) or len(value) > 1
            lines = "".join(f"{inner}{_render(item, inner)}\n" for item in value)
            return f"[\n{lines}{indent}]" if many else f"[{lines.strip()}]"
        case EnvRef(name):
            return f"${name}"
        case _:
            return json.dumps(value, ensure_ascii=False)
