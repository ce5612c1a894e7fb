"""The text of the nats-server's configuration. That the server understands and enforces it: tests/integration/test_local_stack.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.local.nats_config import EnvRef, nats_config, users
from streams.settings import Settings
from tests.brokers import orbit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return orbit(tmp_path, limits={"nats_payload_bytes_max": 777_777})


def test_an_acknowledgement_means_on_disk(settings: Settings) -> None:
    """The server syncs before it acknowledges, and carries messages up to the settings' limit."""
    text = _text(settings)
    assert 'sync_interval: "always"' in text
    assert "max_payload: 777777" in text


def test_every_user_has_a_password(settings: Settings) -> None:
    """SyncMaster's three and every principal; a missing password is an error, never an open door."""
    names = {"syncmaster-bridge", "syncmaster-gateway", "syncmaster-worker", "c4", "c8", "c12", "c20", "c24", "c28", "operator"}
    assert set(users(settings)) == names
    with pytest.raises(KeyError):
        nats_config(settings, dict.fromkeys(names - {"c4"}, "x"))


def test_a_principal_publishes_under_its_own_name_only(settings: Settings) -> None:
    """Only the gateway may publish for others; the bridge and the worker not even for themselves."""
    ingress = {user: [s for s in rights.publish if s.startswith("sm.in") or s == ">"] for user, rights in users(settings).items()}
    own = {"syncmaster-bridge": [], "syncmaster-gateway": ["sm.in.>"], "syncmaster-worker": []}
    assert ingress == {name: [f"sm.in.{name}.>"] for name in settings.principals} | own


def test_a_principal_without_a_nats_password_cannot_connect(settings: Settings) -> None:
    """Such a principal uses the gateway only."""
    silent = settings.principals["c8"].model_copy(update={"nats_password": None})
    assert "c8" not in users(settings.model_copy(update={"principals": settings.principals | {"c8": silent}}))


def test_a_principal_cannot_take_the_name_of_ours(settings: Settings) -> None:
    """Otherwise its rights would replace those of the bridge."""
    ours = settings.model_copy(update={"principals": {"syncmaster-bridge": settings.principals["c4"]}})
    with pytest.raises(ValueError, match="must have different names"):
        users(ours)


def test_a_committed_configuration_has_no_secrets(settings: Settings) -> None:
    """An EnvRef is written as the server's variable, unquoted; a password as a string in which nothing is a variable."""
    passwords: dict[str, str | EnvRef] = dict.fromkeys(users(settings), 'p$a"ss')
    text = nats_config(settings, passwords | {"c4": EnvRef("C4_PASSWORD")})
    assert "password: $C4_PASSWORD\n" in text
    assert 'password: "p$a\\"ss"\n' in text


def test_monitoring_is_there_only_when_asked_for(settings: Settings) -> None:
    """It shows who is connected and is not authenticated."""
    assert "http:" not in _text(settings)
    assert 'http: "127.0.0.1:8222"' in nats_config(settings, dict.fromkeys(users(settings), "x"), http_port=8222)


def _text(settings: Settings) -> str:
    return nats_config(settings, dict.fromkeys(users(settings), "x"))
