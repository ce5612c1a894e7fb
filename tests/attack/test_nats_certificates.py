"""Logging in to NATS with certificates, on a real nats-server: one is one principal, by its subject or its DNS name."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from gateway.local.nats_server import NatsServer
from gateway.nats_refusals import refusal_of
from gateway.sessions import shared_secret
from streams.errors import Retriable
from streams.login_advisories import LoginAdvisories
from streams.nats_door import connect
from streams.nats_pull import PullClient
from streams.settings import SecretRef, Settings
from tests.brokers import orbit
from tests.certificates import Authority
from tests.nats_doors import eventually, logged_in, serving

pytestmark = pytest.mark.connected


class Certified:
    """A server that knows everybody by certificate: c4 by subject, c8 by DNS name, the rest by subject."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory / "ca")
        settings = orbit(directory)
        principals = {
            name: principal.model_copy(
                update={"nats_certificates": ("c8.orbit.example",) if name == "c8" else (f"CN={name},O=Orbit",)}
            )
            for name, principal in settings.principals.items()
        }
        own = {
            who: self.authority.issue(who, common_name=who, dns=f"syncmaster-{who}") for who in ("bridge", "gateway", "worker")
        }
        tls = {"ca": self.authority.ca, "server": self.authority.issue("server", dns="localhost"), **own}
        content = settings.model_dump() | {"principals": principals}
        passwords = dict.fromkeys(("bridge_password", "gateway_password", "worker_password"))
        self.settings = Settings.model_validate(content | {"nats": content["nats"] | passwords | {"tls": tls}})

    def shown(self, name: str, authority: Authority | None = None, **subject: Any) -> dict[str, Any]:
        """Options of a client that shows such a certificate."""
        files = (authority or self.authority).issue(name, **subject)
        return {"tls": self.context(files), "tls_handshake_first": True, "inbox_prefix": f"_INBOX_{name}"}

    def context(self, files: dict[str, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.ca)
        if files:
            context.load_cert_chain(files["cert"], files["key"])
        return context


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return Certified(tmp_path_factory.mktemp("certified"))


@pytest.fixture(scope="module")
def tls_server(certified: Certified, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with serving(tmp_path_factory.mktemp("nats"), certified.settings) as server:
        yield server


@pytest.mark.parametrize(
    ("name", "subject"),
    [("c4", {"common_name": "c4", "organization": "Orbit"}), ("c8", {"common_name": "whoever", "dns": "c8.orbit.example"})],
)
async def test_a_certificate_is_a_principal(
    tls_server: NatsServer, certified: Certified, name: str, subject: dict[str, str]
) -> None:
    """By its subject or its DNS name; it publishes under its own prefix and under no other."""
    async with logged_in(tls_server, **certified.shown(name, **subject)) as client:
        await client.publish(f"sm.in.{name}.x", b"mine")
        await client.flush()
        assert client.complaints == []
        await client.publish("sm.in.c24.x", b"forged")
        await client.flush()
        await eventually(lambda: len(client.complaints) == 1)


REFUSED = (nats.errors.Error, ssl.SSLError, OSError, asyncio.IncompleteReadError, TimeoutError)


@pytest.mark.parametrize(
    "subject",
    [
        {"common_name": "nobody", "organization": "Orbit"},
        {"common_name": "c4"},  # another organization's c4
        {"common_name": "c4", "organization": "Orbit, Inc"},
        {"common_name": "c4,O=Orbit"},
        {"common_name": "nobody", "dns": "c4"},
        {"common_name": "c4", "organization": "Orbit", "days": -1},
    ],
    ids=["nobody", "no_organization", "longer", "in_one_part", "in_another_place", "expired"],
)
async def test_a_certificate_of_nobody_is_refused(tls_server: NatsServer, certified: Certified, subject: dict[str, Any]) -> None:
    """Signed by our authority, and yet not somebody's, or not any more."""
    with pytest.raises(REFUSED):
        async with logged_in(tls_server, **certified.shown("stranger", **subject)) as client:
            await client.flush()


async def test_a_certificate_of_nobody_is_told(tls_server: NatsServer, certified: Certified) -> None:
    """The gateway hears of it, from where; what fails in the handshake already, as one that has expired, is in the server's log only."""
    found: list[bytes] = []
    nats_ = certified.settings.nats.model_copy(update={"url": tls_server.url, "gateway_password": None})
    advisories = LoginAdvisories(nats_, found.append)
    await advisories.start()
    try:
        await eventually(lambda: bool(advisories._client._subs))
        await advisories._client.flush()
        for subject in ({"common_name": "c4", "organization": "Orbit", "days": -1}, {"common_name": "nobody"}):
            with pytest.raises(REFUSED):
                async with logged_in(tls_server, **certified.shown("stranger", **subject)) as client:
                    await client.flush()
        await eventually(lambda: bool(found))
    finally:
        await advisories.aclose()
    (refusal,) = (refusal_of(body, {"c4"}) for body in found)
    assert refusal is not None
    assert (refusal.remote, refusal.detail) == ("127.0.0.1", "(Authentication Failure)")


async def test_a_certificate_of_another_authority_is_refused(
    tls_server: NatsServer, certified: Certified, tmp_path: Path
) -> None:
    """Whatever it says."""
    other = Authority(tmp_path, "Test CA")
    with pytest.raises(REFUSED):
        async with logged_in(tls_server, **certified.shown("c4", other, common_name="c4", organization="Orbit")) as client:
            await client.flush()


@pytest.mark.parametrize("user", ["c4", "syncmaster-gateway"])
async def test_a_password_does_not_replace_a_certificate(tls_server: NatsServer, certified: Certified, user: str) -> None:
    """Without a certificate nobody enters, with or without a password; with one of nobody, neither."""
    secret = certified.settings.principals["c4"].nats_password
    assert secret is not None
    for password in (secret.reveal(), ""):
        with pytest.raises(REFUSED):
            async with logged_in(
                tls_server, user=user, password=password, tls=certified.context(), tls_handshake_first=True
            ) as client:
                await client.flush()
        with pytest.raises(REFUSED):
            async with logged_in(tls_server, user=user, password=password, **certified.shown("x", common_name="x")) as client:
                await client.flush()


@pytest.mark.parametrize("make", [Client, PullClient])
@pytest.mark.parametrize("who", ["bridge", "gateway", "worker"])
async def test_our_own_users_show_theirs(
    tls_server: NatsServer, certified: Certified, who: str, make: Callable[[], Client]
) -> None:
    """Over TLS from the first byte, with both kinds of client; the rights are those of the user."""
    settings = certified.settings.nats.model_copy(update={"url": tls_server.url})
    user, client = f"syncmaster-{who}", make()
    await connect(client, settings, user, None, name="test", reconnect=False)
    try:
        info = await client.request("$JS.API.INFO", b"", timeout=5)
        assert b"account_info_response" in info.data
    finally:
        await client.close()


def test_gateways_with_certificates_share_sessions(certified: Certified) -> None:
    """Where the gateway has neither password nor seed, its certificate's key is what the gateways share: a cookie holds at all of them."""
    settings = certified.settings.nats
    assert shared_secret(settings) == shared_secret(settings)
    assert shared_secret(settings) != shared_secret(settings.model_copy(update={"gateway_seed": SecretRef(env="PATH")}))
    nobody = settings.model_copy(update={"tls": None})
    assert shared_secret(nobody) != shared_secret(nobody)


async def test_a_server_without_tls_is_not_spoken_with(nats_server: NatsServer, certified: Certified) -> None:
    """Nobody between us and the server can talk us out of TLS: not a byte of a password is said in the clear."""
    settings = certified.settings.nats.model_copy(update={"url": nats_server.url})
    with pytest.raises(Retriable, match="NATS is away"):
        await connect(Client(), settings, settings.gateway_user, SecretRef(env="PATH"), name="test", reconnect=False)
