"""`alerts` in `syncmaster.yaml`: where alerts go, how often the same one is told, how many at most."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from streams.settings_base import Model, Name, SecretRef

#: Tokens of a NATS subject, without wildcards.
SubjectPrefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=128)]


class Alertmanager(Model):
    """Prometheus' Alertmanager, by its API v2."""

    #: Without path, or with the prefix that it is served under: `/api/v2/alerts` is added.
    url: str = Field(pattern=r"^https?://[^\s?#]+$")
    bearer: SecretRef | None = None
    timeout_s: float = Field(5.0, gt=0, le=60)


class NatsAlerts(Model):
    #: Alerts of the policy `freeze` are published as `<subject_prefix>.freeze`.
    subject_prefix: SubjectPrefix = "sm.alerts"
    #: Principals that may hear them.
    subscribers: tuple[Name, ...] = ()


class Alerts(Model):
    nats: NatsAlerts | None = NatsAlerts()
    alertmanager: Alertmanager | None = None
    #: Within this time after an alert, others of the same rule, artifact and component are counted and not sent.
    repeat_interval_s: float = Field(3600.0, ge=0)
    #: Of each severity and to each receiver; what is above is told by one alert that says how many there were.
    per_minute_max: int = Field(30, ge=1, le=10_000)
    #: The gateway as people reach it; alerts link to it.
    gateway_url: str | None = Field(None, pattern=r"^https?://[^\s?#]+$")
