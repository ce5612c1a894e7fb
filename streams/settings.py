"""`syncmaster.yaml` as frozen pydantic models: shapes, defaults and the relations between limits. Loading and linting: `config_file.py`.

Unknown keys are errors. Nobody but `config_file.py` reads the environment. Secrets are references (an environment variable or
a file), are read when they are needed, and never appear in a repr.
"""

from __future__ import annotations

import hashlib
import itertools
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from streams.settings_access import Binding, Principal, Role, Rule, Verb, grants, holds, unresolved
from streams.settings_alerts import Alerts
from streams.settings_audit import Audit, VerifyKey
from streams.settings_base import Model, Name, Pattern, SecretRef, glob, wrong
from streams.settings_nats import Certificate, Nats, Tls
from streams.settings_policies import Policy, duplicated, strangers

__all__ = [
    "Audit",
    "Binding",
    "Certificate",
    "Model",
    "Name",
    "Nats",
    "Pattern",
    "Principal",
    "Role",
    "Rule",
    "SecretRef",
    "Settings",
    "Tls",
    "Verb",
    "VerifyKey",
    "glob",
]


class Kafka(Model):
    bootstrap: str = "127.0.0.1:9092"
    #: Topics are `<prefix>.events`, `<prefix>.sync.<component>` and so on; also Faust's app id and the consumer group.
    topic_prefix: Name = "syncmaster"
    #: Fixed at creation and checked at start: one artifact has one writer, everywhere.
    partitions: int = Field(8, ge=1, le=1024)
    replication_factor: int = Field(1, ge=1, le=9)
    request_timeout_s: float = Field(30.0, gt=0)
    session_timeout_s: float = Field(10.0, gt=0)
    transaction_timeout_s: float = Field(20.0, gt=0)
    audit_retention_days: int = Field(365, ge=1)
    events_retention_days: int = Field(7, ge=1)


class Limits(Model):
    """Sizes, in the order that must hold: event < NATS max_payload < stored record < the log's max.message.bytes."""

    event_bytes_max: int = Field(262_144, ge=1024)
    nats_payload_bytes_max: int = Field(1_048_576, ge=1024)
    stored_record_bytes_max: int = Field(1_310_720, ge=1024)
    log_message_bytes_max: int = Field(2_097_152, ge=1024)
    head_bytes_max: int = Field(8192, ge=2048)
    json_depth_max: int = Field(64, ge=4, le=500)
    #: Events in one batch message: each becomes a record, and each that is malformed a quarantined one.
    batch_events_max: int = Field(1000, ge=1, le=100_000)
    #: An event may claim a `time` at most this far ahead of the door's clock.
    time_ahead_s_max: float = Field(86_400.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        order = ("event_bytes_max", "nats_payload_bytes_max", "stored_record_bytes_max", "log_message_bytes_max")
        for smaller, larger in itertools.pairwise(order):
            if getattr(self, smaller) >= getattr(self, larger):
                raise wrong((smaller,), f"must be below limits.{larger}, which carries it", "lower it, or raise the other")
        return self


class Worker(Model):
    data_dir: Path = Path(".syncmaster/worker")
    chunk_records_max: int = Field(4000, ge=1)
    chunk_bytes_max: int = Field(4 << 20, ge=1024)
    mailbox_chunks_max: int = Field(4, ge=1)
    mailbox_receipts_max: int = Field(10_000, ge=1)
    #: From one turn of a partition to its next under load; idle ones begin at once, full ones too.
    turn_interval_s: float = Field(0.01, ge=0, le=1)
    #: How long receipts wait for events that share their transaction.
    receipts_wait_s: float = Field(0.02, ge=0, le=1)
    standby_replicas: int = Field(1, ge=0, le=8)
    block_cache_bytes: int = Field(64 << 20, ge=1 << 20)
    http_host: str = "127.0.0.1"
    #: Metrics and probes of this process; 0 takes a free port.
    http_port: int = Field(0, ge=0, le=65535)


class Bridge(Model):
    pull_messages_max: int = Field(2000, ge=1)
    pull_bytes_max: int = Field(4 << 20, ge=1 << 16)
    pulls_in_flight: int = Field(6, ge=1, le=16)
    #: From one append of a stream to its next under load; an idle stream's message goes at once.
    round_interval_s: float = Field(0.005, ge=0, le=1)
    lease_ttl_s: float = Field(6.0, gt=0.5, le=10.0)
    http_host: str = "127.0.0.1"
    http_port: int = Field(0, ge=0, le=65535)


class Gateway(Model):
    data_dir: Path = Path(".syncmaster/gateway")
    host: str = "127.0.0.1"
    port: int = Field(8056, ge=0, le=65535)
    read_wait_s_max: float = Field(10.0, gt=0)
    #: A gateway that has not heard from the log for so long does not know which API keys were revoked, and refuses those of the log.
    keys_stale_s_max: float = Field(30.0, gt=1)
    #: Proxies whose `X-Forwarded-For` is believed, as networks: where a request came from is in the audit.
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()


class HttpSink(Model):
    """POSTs one CloudEvent (binary mode) with `Idempotency-Key`. 2xx is the receipt."""

    type: Literal["http"]
    url: str = Field(pattern=r"^https?://")
    timeout_s: float = Field(10.0, gt=0)
    bearer: SecretRef | None = None


class NatsSink(Model):
    """`publish`: into the component's JetStream stream, PubAck is the receipt. `request`: the component's reply is."""

    type: Literal["nats"]
    #: Subject that gets every update; `{kind}` stands for the artifact's kind.
    subject: str = Field(pattern=r"^[^\s*>]+$")
    mode: Literal["publish", "request"] = "publish"
    timeout_s: float = Field(5.0, gt=0)


class LogSink(Model):
    """The component reads `[sync.<component>]`; the record is in the transaction of the state."""

    type: Literal["log"]


Sink = Annotated[HttpSink | NatsSink | LogSink, Field(discriminator="type")]


class Component(Model):
    description: str = ""
    sink: Sink
    #: The one it belongs to, by which roles and policies may select it.
    environment: Name | None = None
    #: Deliveries in flight in the whole cluster; a worker takes its share by owned / total partitions.
    in_flight_max: int = Field(16, ge=1, le=1024)
    backoff_s_min: float = Field(0.5, gt=0)
    backoff_s_max: float = Field(300.0, gt=0, le=3600)


class Match(Model):
    """Which artifacts a route is about. Patterns match the artifact key; an empty list of types means all."""

    artifacts: tuple[Pattern, ...] = Field(min_length=1)


class Route(Model):
    """Brings `to` in step with every artifact that matches. One component must not be named by two routes for one artifact."""

    name: Name
    match: Match
    to: tuple[Name, ...] = Field(min_length=1)
    #: `latest`: only the newest version matters. `every`: each version, in accepted order.
    mode: Literal["latest", "every"] = "latest"
    #: Which version is newest: the one accepted last, or the greatest by SemVer 2.
    newest: Literal["accepted", "semver"] = "accepted"


_OF_ONE_PROCESS: dict[str, Any] = {
    "worker": {"data_dir", "http_host", "http_port"},
    "bridge": {"http_host", "http_port"},
    "gateway": {"data_dir", "host", "port"},
}


class Settings(Model):
    """The whole of `syncmaster.yaml`."""

    cluster: Name
    kafka: Kafka = Kafka()
    nats: Nats = Nats()
    limits: Limits = Limits()
    worker: Worker = Worker()
    bridge: Bridge = Bridge()
    gateway: Gateway = Gateway()
    audit: Audit = Audit()
    alerts: Alerts = Alerts()
    principals: dict[Name, Principal] = Field({})
    roles: dict[Name, Role] = Field({})
    bindings: tuple[Binding, ...] = ()
    components: dict[Name, Component] = Field({})
    routes: tuple[Route, ...] = ()
    policies: tuple[Policy, ...] = ()

    @model_validator(mode="after")
    def _references(self) -> Self:
        names = [route.name for route in self.routes]
        for index, route in enumerate(self.routes):
            if route.name in names[:index]:
                raise wrong(("routes", index, "name"), f"another route is called {route.name!r}", "give each its own name")
            for position, component in enumerate(route.to):
                if component not in self.components:
                    known = ", ".join(sorted(self.components)) or "none"
                    path = ("routes", index, "to", position)
                    raise wrong(path, f"there is no component {component!r}", f"declare it, or name one of these: {known}")
        if found := unresolved(self.roles, self.bindings, self.principals):
            raise found
        if found := duplicated(self.policies) or strangers(self.policies, self.components):
            raise found
        if self.nats.tls is not None and any(principal.nats_certificates for principal in self.principals.values()):
            self._certificate_or_password()
        if self.kafka.transaction_timeout_s <= self.kafka.session_timeout_s:
            # Else the log would abort a transaction before its owner is known to be gone.
            message = "must be above kafka.session_timeout_s"
            raise wrong(("kafka", "transaction_timeout_s"), message, "raise it, or lower the other")
        return self

    def _certificate_or_password(self) -> None:
        """nats-server, told to map certificates to users, refuses one that shows a certificate and sends a password as well."""
        for who in ("bridge", "gateway", "worker"):
            if getattr(self.nats.tls, who) is not None and getattr(self.nats, f"{who}_password") is not None:
                message = f"nats.tls.{who} says who it is, where certificates are mapped to users"
                raise wrong(("nats", f"{who}_password"), message, "keep one of the two")

    def holders(self, verb: Verb) -> set[str]:
        """Principals with some rule that has this verb, whatever its selectors."""
        bindings = [grant.binding for grant in grants(self.roles, self.bindings) if verb in grant.rule.verbs]
        return {name for name, principal in self.principals.items() if any(holds(name, principal, b) for b in bindings)}

    @property
    def routing_hash(self) -> str:
        """Changes exactly when routes or components' existence change: the trigger of a backfill scan."""
        text = repr((sorted(self.components), [r.model_dump(mode="json") for r in self.routes]))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def config_hash(self) -> str:
        """Stands for the whole effective configuration, secrets' places included, secrets not.

        Where a single process keeps its data and listens is left out: it is no change when a partition moves to another worker.
        """
        return hashlib.sha256(self.model_dump_json(exclude=_OF_ONE_PROCESS).encode()).hexdigest()[:16]
