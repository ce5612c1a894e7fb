"""Logging in to NATS with nkeys, on a real nats-server: a seed is one principal, and nobody else's will do."""

from __future__ import annotations

import os
from pathlib import Path

import nats.errors
import nkeys
import pytest
from nats.aio.client import Client

from streams.errors import Retriable
from streams.nats_door import connect
from streams.publisher import DoorState, Publisher
from streams.settings import SecretRef
from tests.brokers import User, orbit
from tests.nats_doors import eventually, logged_in, serving

pytestmark = pytest.mark.connected


def nkey() -> tuple[str, str]:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return nkeys.from_seed(bytearray(seed)).public_key.decode(), bytes(seed).decode()


class Keyed:
    """A server whose c4 has two nkeys and no password, and whose gateway has a seed."""

    def __init__(self, directory: Path) -> None:
        settings = orbit(directory)
        (self.first, self.first_seed), (self.second, self.second_seed), (_, gateway_seed) = nkey(), nkey(), nkey()
        (directory / "gateway.seed").write_text(gateway_seed)
        c4 = settings.principals["c4"].model_copy(update={"nats_password": None, "nats_nkeys": (self.first, self.second)})
        seed = {"gateway_password": None, "gateway_seed": SecretRef(file=directory / "gateway.seed")}
        nats_ = settings.nats.model_copy(update=seed)
        self.settings = settings.model_copy(update={"nats": nats_, "principals": settings.principals | {"c4": c4}})


async def test_an_nkey_is_a_principal(tmp_path: Path) -> None:
    """Both of its keys log in, and may publish under its own prefix and under no other."""
    keyed = Keyed(tmp_path)
    with serving(tmp_path / "nats", keyed.settings) as server:
        for seed in (keyed.first_seed, keyed.second_seed):
            async with logged_in(server, nkeys_seed_str=seed, inbox_prefix="_INBOX_c4") as client:
                await client.publish("sm.in.c4.x", b"mine")
                await client.flush()
                assert client.complaints == []
                await client.publish("sm.in.c24.x", b"forged")
                await client.flush()
                await eventually(lambda c=client: len(c.complaints) == 1)  # type: ignore[misc]


async def test_a_wrong_seed_is_refused(tmp_path: Path) -> None:
    """A seed of nobody; and the public half alone, with another's signature."""
    keyed, (_, stranger) = Keyed(tmp_path), nkey()
    with serving(tmp_path / "nats", keyed.settings) as server:
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            async with logged_in(server, nkeys_seed_str=stranger):
                pass
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            async with logged_in(server, user="c4", password="x"):
                pass
        forged = _Forged(keyed.first, stranger)
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            await forged.connect(server.url, nkeys_seed_str=stranger, allow_reconnect=False, error_cb=forged.complain)
        forged._transport.close()


class _Forged(User):
    """Says that it has somebody else's public key, and signs with its own."""

    def __init__(self, public: str, seed: str) -> None:
        super().__init__()
        self._claimed = public

    def _setup_nkeys_seed_connect(self) -> None:
        super()._setup_nkeys_seed_connect()
        self._public_nkey = self._claimed


async def test_the_gateway_logs_in_with_its_seed(tmp_path: Path) -> None:
    """SyncMaster's own connections take the seed from its place; with another one there is no door."""
    keyed, (_, stranger) = Keyed(tmp_path), nkey()
    with serving(tmp_path / "nats", keyed.settings) as server:
        settings = keyed.settings.nats.model_copy(update={"url": server.url})
        publisher = Publisher(settings)
        await publisher.start()
        await eventually(lambda: publisher.state is DoorState.CONNECTED)
        await publisher.aclose()
        (tmp_path / "gateway.seed").write_text(stranger)
        with pytest.raises(Retriable, match="Authorization Violation"):
            await connect(Client(), settings, settings.gateway_user, None, name="test", reconnect=False)
