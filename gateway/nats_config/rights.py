"""What each NATS user may do: publish, subscribe, answer. Everything is denied unless a line here allows it.

A principal's subjects begin with its name, and only it (and the gateway, which authenticates what comes over HTTP) may publish there: the
subject is the identity. That permissions alone do not keep this promise, and what does: `accounts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from streams.audit_stream import AUDIT_STREAM
from streams.audit_stream import SUBJECT as CHECKPOINTS
from streams.errors import ConfigError
from streams.login_advisories import REFUSED_LOGINS
from streams.settings import Component, NatsSink, Settings

#: Principals' streams catch `sm.in.<principal>.>`.
INGRESS = "sm.in"
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
class Rights:
    """What one user may do."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    #: Subjects of other users' requests that it answers (and subscribes to).
    answer: tuple[str, ...] = ()
    answer_within_s: float = 5.0
    #: Subjects of ours that it hears, in its own account.
    hear: tuple[str, ...] = ()


def users(settings: Settings) -> dict[str, Rights]:
    """Everybody who may connect: SyncMaster's own three users and the principals that speak NATS."""
    own, principals = own_users(settings), principal_users(settings)
    if taken := own.keys() & principals.keys():
        raise ConfigError(
            f"principals and SyncMaster's own NATS users must have different names, but both have {sorted(taken)}; rename one"
        )
    return own | principals


def own_users(settings: Settings) -> dict[str, Rights]:
    own = settings.nats
    return {
        own.bridge_user: _bridge(own.bridge_user),
        own.gateway_user: _gateway(own.gateway_user, alert_subjects(settings)),
        own.worker_user: _worker(own.worker_user, settings.components),
    }


def principal_users(settings: Settings) -> dict[str, Rights]:
    hearers = settings.alerts.nats.subscribers if settings.alerts.nats else ()
    rights = {
        name: _principal(name, settings.components.get(name), is_witness=name in settings.audit.witnesses)
        for name, principal in settings.principals.items()
        if principal.speaks_nats
    }
    heard = alert_subjects(settings)
    return {name: replace(right, hear=heard) if name in hearers else right for name, right in rights.items()}


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


def alert_subjects(settings: Settings) -> tuple[str, ...]:
    return (f"{settings.alerts.nats.subject_prefix}.>",) if settings.alerts.nats else ()


def _gateway(user: str, alerts: tuple[str, ...]) -> Rights:
    # Of the bridge's checkpoints it may read single entries: the incarnations of streams, for the tokens that it returns.
    read = ("$JS.API.INFO", "$JS.API.STREAM.INFO.>", "$JS.API.STREAM.MSG.GET.KV_sm_bridge")
    return Rights((f"{INGRESS}.>", *read, *alerts), (f"{inbox(user)}.>", REFUSED_LOGINS))


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
