"""What is wrong or doubtful about `alerts`: who hears them, and how they get to Alertmanager. Part of `config_lint.py`."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from streams.config_problem import Problem, Source
from streams.settings import Settings

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def lint_alerts(settings: Settings, source: Source) -> Iterator[Problem]:
    yield from _subscribers(settings, source)
    yield from _alertmanager(settings, source)


def _subscribers(settings: Settings, source: Source) -> Iterator[Problem]:
    for index, name in enumerate(settings.alerts.nats.subscribers if settings.alerts.nats else ()):
        path = ("alerts", "nats", "subscribers", index)
        if name not in settings.principals:
            known = ", ".join(sorted(settings.principals)) or "none"
            yield source.problem(path, f"there is no principal {name!r}", f"declare it, or name one of these: {known}")
        elif not settings.principals[name].speaks_nats:
            yield source.problem(path, "has no credentials for NATS, so it cannot hear alerts", "give it one", level="warning")


def _alertmanager(settings: Settings, source: Source) -> Iterator[Problem]:
    alertmanager, path = settings.alerts.alertmanager, ("alerts", "alertmanager", "url")
    if alertmanager is None:
        return
    url = urlsplit(alertmanager.url)
    if url.username is not None:
        yield source.problem(path, "holds credentials", "use `bearer`, which is the place of a secret")
    if url.scheme == "http" and url.hostname not in _LOOPBACK and alertmanager.bearer is not None:
        mend = "use https, unless the network between them is trusted"
        yield source.problem(path, "sends the bearer in plain text to another machine", mend, level="warning")
    if settings.alerts.gateway_url is None:
        mend = "set alerts.gateway_url to where people reach the gateway"
        yield source.problem(("alerts", "alertmanager"), "alerts have no link to where they come from", mend, level="warning")
