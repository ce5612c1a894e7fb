"""Who gets alerts: NATS, one subject per rule, and Prometheus' Alertmanager by its API v2."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
import msgspec

from streams.alerts import Alert
from streams.errors import ConfigError, Rejected, Retriable
from streams.publisher import Publisher
from streams.settings import Settings
from streams.settings_alerts import Alertmanager

_ANSWER_BYTES_MAX = 300
#: The request can never be right; everything else may be mended on the other side.
_REJECTED = {400, 413, 422}


class Receiver(Protocol):
    """Takes all of the alerts or raises: Retriable, or Rejected when these can never be taken."""

    name: str

    async def send(self, alerts: Sequence[Alert]) -> None: ...

    async def aclose(self) -> None: ...


def receivers(settings: Settings, publisher: Publisher) -> list[Receiver]:
    """Those that the configuration names."""
    found: list[Receiver] = []
    if settings.alerts.nats is not None:
        found.append(NatsReceiver(settings.alerts.nats.subject_prefix, publisher))
    if settings.alerts.alertmanager is not None:
        found.append(AlertmanagerReceiver(settings, settings.alerts.alertmanager))
    return found


class NatsReceiver:
    """`<prefix>.<rule>`, the alert as JSON. Told when the server has it; whether anybody listens is not known to NATS."""

    name = "nats"

    def __init__(self, prefix: str, publisher: Publisher) -> None:
        self._prefix = prefix
        self._publisher = publisher

    async def send(self, alerts: Sequence[Alert]) -> None:
        await self._publisher.announce([(f"{self._prefix}.{alert.rule}", msgspec.json.encode(alert)) for alert in alerts])

    async def aclose(self) -> None:
        return


class AlertmanagerReceiver:
    name = "alertmanager"

    def __init__(self, settings: Settings, config: Alertmanager) -> None:
        self._config = config
        self._url = f"{config.url.rstrip('/')}/api/v2/alerts"
        self._cluster = settings.cluster
        self._gateway_url = settings.alerts.gateway_url
        self._lasts_s = settings.alerts.repeat_interval_s
        self._session: aiohttp.ClientSession | None = None

    async def send(self, alerts: Sequence[Alert]) -> None:
        try:
            body = [self._rendered(alert) for alert in alerts]
            async with self._open().post(self._url, json=body, headers=self._headers(), allow_redirects=False) as response:
                if response.status == 200:
                    return
                told = self._told(await response.content.read(2 * _ANSWER_BYTES_MAX))
        except TimeoutError:
            raise Retriable(f"Alertmanager gave no answer within {self._config.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as exc:
            raise Retriable(f"Alertmanager cannot be reached: {exc or type(exc).__name__}") from exc
        except ConfigError as exc:
            raise Retriable(str(exc)) from exc
        if response.status in _REJECTED:
            raise Rejected(f"Alertmanager refused {len(alerts)} alerts with {response.status}: {told!r}")
        raise Retriable(f"Alertmanager answered {response.status}; check alerts.alertmanager: {told!r}")

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # a session belongs to a running loop, so not in the constructor
            timeout = aiohttp.ClientTimeout(total=self._config.timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def _told(self, answer: bytes) -> str:
        """The beginning, and never our own secret, which some repeat."""
        bearer = self._config.bearer
        return (answer if bearer is None else bearer.hidden_in(answer))[:_ANSWER_BYTES_MAX].decode(errors="replace")

    def _headers(self) -> dict[str, str]:
        bearer = self._config.bearer
        return {"User-Agent": "syncmaster"} | ({"Authorization": f"Bearer {bearer.reveal()}"} if bearer else {})

    def _rendered(self, alert: Alert) -> dict[str, Any]:
        """A `postableAlert`. Nobody tells us when the cause is gone, so it ends when the next one of its kind would be sent.

        To Alertmanager labels are what an alert *is*: ids and details, which differ each time, are annotations.
        """
        own = {"artifact": alert.artifact, "component": alert.component, "principal": alert.principal}
        labels = {"alertname": alert.rule, "severity": alert.severity, "cluster": self._cluster, "source": "syncmaster", **own}
        rendered = {
            "labels": {name: value for name, value in labels.items() if value},
            "annotations": {**alert.labels, "summary": alert.summary, "next_step": alert.next_step, "id": alert.id},
            "startsAt": _rfc3339(alert.at_ms),
            "endsAt": _rfc3339(alert.at_ms + int(self._lasts_s * 1000)),
        }
        return rendered | (
            {"generatorURL": f"{self._gateway_url.rstrip('/')}/v1/alerts?rule={alert.rule}"} if self._gateway_url else {}
        )


def _rfc3339(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
