"""`alerts` of the configuration: what is refused, and what is doubtful."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import Problems

HEARER = "principals: {p: {groups: [g], api_keys: [{env: K}]}}\nroles: {r: {rules: [{verbs: [read]}]}}\nbindings: [{name: b, role: r, groups: [g]}]\n"


@pytest.mark.parametrize(
    ("alerts", "level", "path", "told"),
    [
        ("{nats: {subscribers: [q]}}", "error", "alerts.nats.subscribers[0]", "there is no principal 'q'"),
        (
            "{nats: {subscribers: [p]}}",
            "warning",
            "alerts.nats.subscribers[0]",
            "has no credentials for NATS, so it cannot hear alerts",
        ),
        ("{nats: {subject_prefix: 'sm.*'}}", "error", "alerts.nats.subject_prefix", ""),
        ("{nats: {subject_prefix: 'sm..alerts'}}", "error", "alerts.nats.subject_prefix", ""),
        ("{alertmanager: {url: 'ftp://am'}}", "error", "alerts.alertmanager.url", ""),
        ("{alertmanager: {url: 'https://u:pw@am'}}", "error", "alerts.alertmanager.url", "holds credentials"),
        ("{alertmanager: {url: 'https://am'}}", "warning", "alerts.alertmanager", "alerts have no link to where they come from"),
        (
            "{alertmanager: {url: 'http://am', bearer: {env: T}}, gateway_url: 'https://sm'}",
            "warning",
            "alerts.alertmanager.url",
            "sends the bearer in plain text to another machine",
        ),
    ],
)
def test_what_is_wrong_or_doubtful(problems: Problems, alerts: str, level: str, path: str, told: str) -> None:
    """Each with its place; nothing of a URL's password is told."""
    found = problems(f"cluster: here\n{HEARER}alerts: {alerts}\n")
    about = [(problem.level, problem.message) for problem in found if problem.path == path]
    assert [(level, True)] == [(its_level, told in message) for its_level, message in about]
    assert "pw" not in "".join(map(str, found)).replace("{p", "")


def test_a_good_one(problems: Problems) -> None:
    """Alerts that go nowhere are allowed, and so are those that go everywhere."""
    everywhere = "{alertmanager: {url: 'https://am/prefix', bearer: {env: T}}, gateway_url: 'https://sm'}"
    for alerts in ("{nats: null}", everywhere):
        found = problems(f"cluster: here\n{HEARER}alerts: {alerts}\n")
        assert not [problem for problem in found if problem.path.startswith("alerts") and "bearer" not in problem.path]
