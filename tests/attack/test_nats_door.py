"""The NATS door, on a real nats-server with the configuration that SyncMaster writes: nobody is somebody else there.

What must be true: a subject under `sm.in.<principal>.` is the work of that principal or of the gateway. What answers and pulls can be made
to do: tests/integration/test_local_stack.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import nats.errors
import nkeys
import pytest
from nats.aio.client import Client

from gateway.local.nats_server import NatsServer
from gateway.nats_config.rights import users
from gateway.nats_refusals import refusal_of
from gateway.sessions import shared_secret
from streams.errors import Retriable
from streams.login_advisories import REFUSED_LOGINS, LoginAdvisories
from streams.nats_door import connect
from streams.nats_pull import PullClient
from streams.publisher import DoorState, Publisher
from streams.settings import SecretRef, Settings
from tests.brokers import User, connected, orbit
from tests.certificates import Authority
from tests.nats_logins import attempt

pytestmark = pytest.mark.connected
USERS = ["c4", "c8", "c12", "c20", "c24", "c28", "operator", "syncmaster-bridge", "syncmaster-worker"]


async def eventually(condition: Callable[[], bool], within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@contextmanager
def serving(directory: Path, settings: Settings) -> Iterator[NatsServer]:
    server = NatsServer(directory, settings)
    server.start()
    try:
        yield server
    finally:
        server.kill9()


@asynccontextmanager
async def logged_in(server: NatsServer, **options: Any) -> AsyncIterator[User]:
    """Anybody, with whatever they have. Raises what the client raises when the server refuses."""
    client = User()
    try:
        await client.connect(server.url, error_cb=client.complain, allow_reconnect=False, connect_timeout=5, **options)
        yield client
    finally:
        await client.close()
        if client._transport is not None:
            client._transport.close()  # which is left open where the server refused


# -- subjects ----------------------------------------------------------------------------------------------------------------


def test_every_user_is_tried(session_settings: Settings) -> None:
    """The list above is that of the configuration, without the gateway."""
    assert set(USERS) == users(session_settings).keys() - {"syncmaster-gateway"}


@pytest.mark.parametrize("user", USERS)
async def test_nobody_publishes_under_anothers_prefix(nats_server: NatsServer, session_settings: Settings, user: str) -> None:
    """Every principal's prefix, wildcards and near misses, by everybody but the gateway: each publish is a violation."""
    others = [name for name in session_settings.principals if name != user]
    subjects = [f"sm.in.{name}.chart" for name in others]
    subjects += [
        f"sm.in.{others[0]}",
        "sm.in.x",
        "sm.in",
        "sm.IN.c4.x",
        f"sm.in.{user}",
        f"sm.in.{user}x.y",
        "sm.in.*.x",
        "sm.in.>",
    ]
    async with connected(nats_server, session_settings, user) as client:
        for subject in subjects:
            await client.publish(subject, b"forged", headers={"sm-principal": others[0]})
        await client.flush()
        await eventually(lambda: len(client.complaints) >= len(subjects))
    complaints = " ".join(map(str, client.complaints))
    assert all(f'permissions violation for publish to "{subject.lower()}"' in complaints.lower() for subject in subjects)


@pytest.mark.parametrize("user", [name for name in USERS if not name.startswith("syncmaster")])
async def test_a_principal_reads_nobodys_events(nats_server: NatsServer, session_settings: Settings, user: str) -> None:
    """Events, private inboxes of others, the API and its advisories, buckets: none can be subscribed to."""
    subjects = ["sm.in.>", "sm.in.c24.>", "_INBOX_c24x.>", "_INBOX_syncmaster-gateway.>", "$JS.>", "$KV.>", "$SYS.>", ">"]
    async with connected(nats_server, session_settings, user) as client:
        for subject in subjects:
            await client.subscribe(subject)
        await client.flush()
        await eventually(lambda: len(client.complaints) >= len(subjects))


@pytest.mark.parametrize("user", ["c4", "c12", "operator", "syncmaster-gateway", "syncmaster-worker"])
async def test_streams_belong_to_the_bridge(nats_server: NatsServer, session_settings: Settings, user: str) -> None:
    """Nobody else purges, deletes or makes the streams of the door, or writes to the bridge's buckets."""
    verbs = (
        "PURGE.SM_IN_c24",
        "DELETE.SM_IN_c24",
        "CREATE.SM_IN_c24",
        "UPDATE.SM_IN_c24",
        "MSG.DELETE.SM_IN_c24",
        "PURGE.KV_sm_bridge",
    )
    subjects = [f"$JS.API.STREAM.{verb}" for verb in verbs] + ["$KV.sm_bridge.SM_IN_c24", "$JS.API.CONSUMER.CREATE.SM_IN_c24.x"]
    async with connected(nats_server, session_settings, user) as client:
        for subject in subjects:
            await client.publish(subject, b"{}")
        await client.flush()
        await eventually(lambda: len(client.complaints) >= len(subjects))


async def test_nobody_hears_or_forges_a_refused_login(nats_server: NatsServer, session_settings: Settings) -> None:
    """What the server says of refused logins is for the gateway's user alone; nobody says it in its place, the gateway neither."""
    forged = ["sm.auth.refused.x", "sm.auth.refused", "$SYS.SERVER.x.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.CLIENT.AUTH.ERR"]
    heard = [REFUSED_LOGINS, "sm.auth.>", "sm.*.*.*", "$SYS.SERVER.*.CLIENT.AUTH.ERR", "$SYS.>"]
    for user in [*USERS, "syncmaster-gateway"]:
        async with connected(nats_server, session_settings, user) as client:
            for subject in forged:
                await client.publish(subject, b"{}")
            denied = heard if user in USERS else heard[1:]
            for subject in denied:
                await client.subscribe(subject)
                await client.subscribe(subject, queue="syncmaster-gateways")
            await client.flush()
            wanted = len(forged) + 2 * len(denied)
            await eventually(lambda c=client, wanted=wanted: len(c.complaints) == wanted)  # type: ignore[misc]


async def test_what_jetstream_sends_is_no_refused_login(fresh_nats: NatsServer, orbit_settings: Settings) -> None:
    """A component may make consumers of its stream that deliver, or answer, there: nothing of it arrives at the gateways."""
    found: list[bytes] = []
    advisories = LoginAdvisories(orbit_settings.nats.model_copy(update={"url": fresh_nats.url}), found.append)
    await advisories.start()
    async with (
        connected(fresh_nats, orbit_settings, "syncmaster-worker") as worker,
        connected(fresh_nats, orbit_settings, "c12") as c12,
    ):
        try:
            await eventually(lambda: bool(advisories._client._subs))
            await advisories._client.flush()
            await worker.jetstream().add_stream(name="SM_SYNC_c12", subjects=["sync.c12.*"])
            await worker.jetstream().publish("sync.c12.chart", b"forged")
            for name, group in (("alone", ""), ("shared", "syncmaster-gateways")):
                push = {"name": name, "deliver_subject": "sm.auth.refused.x", "deliver_group": group, "ack_policy": "none"}
                body = json.dumps({"stream_name": "SM_SYNC_c12", "config": push}).encode()
                made = await c12.request(f"$JS.API.CONSUMER.CREATE.SM_SYNC_c12.{name}", body, timeout=5)
                assert json.loads(made.data)["name"] == name
            await c12.jetstream().pull_subscribe("sync.c12.*", durable="c12", stream="SM_SYNC_c12")
            await c12.publish("$JS.API.CONSUMER.MSG.NEXT.SM_SYNC_c12.c12", b"1", reply="sm.auth.refused.x")
            await c12.flush()
            await worker.jetstream().publish("sync.c12.chart", b"forged")
            attempt(fresh_nats.port, user="c4")
            await eventually(lambda: bool(found))
            await advisories._client.flush()
        finally:
            await advisories.aclose()
    assert [refusal is not None for refusal in (refusal_of(body, {"c4"}) for body in found)] == [True]


# -- passwords ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"user": "c4"},
        {"user": "c4", "password": ""},
        {"user": "c4", "password": "guess"},
        {"user": "", "password": ""},
        {"user": "SYNCMASTER", "password": "x"},
        {"token": "c4"},
    ],
)
async def test_nobody_enters_without_a_password(nats_server: NatsServer, options: dict[str, str]) -> None:
    """No name, no password, an empty or a wrong one, an account's name, a token: refused alike."""
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        async with logged_in(nats_server, **options):
            pass


async def test_a_password_is_its_owners(nats_server: NatsServer, session_settings: Settings) -> None:
    """That of one principal does not open the door for another."""
    password = session_settings.principals["c4"].nats_password
    assert password is not None
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        async with logged_in(nats_server, user="c24", password=password.reveal()):
            pass


# -- nkeys -------------------------------------------------------------------------------------------------------------------


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


# -- certificates ------------------------------------------------------------------------------------------------------------


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
