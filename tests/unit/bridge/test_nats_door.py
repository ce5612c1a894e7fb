"""How SyncMaster's own users log in to NATS; against the real server: tests/attack/test_nats_door.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from nats.aio.client import Client

from streams.errors import ConfigError
from streams.nats_door import connect
from streams.settings import Nats, SecretRef
from tests.certificates import Authority


def with_tls(tmp_path: Path, **changes: Path) -> Nats:
    authority = Authority(tmp_path / "ca")
    bridge = authority.issue("bridge", common_name="bridge")
    files = {"ca": authority.ca, **bridge} | changes
    return Nats.model_validate({"tls": {"ca": files["ca"], "bridge": {"cert": files["cert"], "key": files["key"]}}})


@pytest.mark.parametrize("what", ["ca", "cert", "key"])
async def test_certificates_that_cannot_be_used(tmp_path: Path, what: str) -> None:
    """A missing or a broken file is told with whose it is and where to look, before anybody is spoken with."""
    (tmp_path / "broken").write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    for file in (tmp_path / "missing", tmp_path / "broken"):
        nats = with_tls(tmp_path, **{what: file})
        with pytest.raises(ConfigError, match=r"NATS user syncmaster-bridge cannot be used .*check the files under nats\.tls"):
            await connect(Client(), nats, nats.bridge_user, None, name="test", reconnect=False)


async def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    """Certificate and key belong together."""
    other = Authority(tmp_path / "other").issue("other", common_name="other")
    nats = with_tls(tmp_path, key=other["key"])
    with pytest.raises(ConfigError, match="cannot be used"):
        await connect(Client(), nats, nats.bridge_user, None, name="test", reconnect=False)


def test_one_way_in() -> None:
    """A user with a password and a seed could not tell which one is meant."""
    with pytest.raises(ValueError, match="bridge_password too"):
        Nats(bridge_password=SecretRef(env="A"), bridge_seed=SecretRef(env="B"))


def test_what_is_whose(tmp_path: Path) -> None:
    """Seeds and certificates are those of our own users, and of nobody else."""
    nats = with_tls(tmp_path).model_copy(update={"gateway_seed": SecretRef(env="SEED")})
    assert nats.seed("syncmaster-gateway") == SecretRef(env="SEED")
    assert nats.certificate("syncmaster-bridge") is not None
    assert (nats.seed("c4"), nats.certificate("c4"), Nats().certificate("syncmaster-bridge")) == (None, None, None)
