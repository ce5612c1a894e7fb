"""The NATS door, on a real nats-server with the configuration that SyncMaster writes: nobody is somebody else there.

What must be true: a subject under `sm.in.<principal>.` is the work of that principal or of the gateway. What answers and pulls can be made
to do: tests/integration/test_local_stack.py.
"""

from __future__ import annotations

import json

import nats.errors
import pytest

from gateway.local.nats_server import NatsServer
from gateway.nats_config.rights import users
from gateway.nats_refusals import refusal_of
from streams.login_advisories import REFUSED_LOGINS, LoginAdvisories
from streams.settings import Settings
from tests.brokers import connected
from tests.nats_doors import eventually, logged_in
from tests.nats_logins import attempt

pytestmark = pytest.mark.connected
USERS = ["c4", "c8", "c12", "c20", "c24", "c28", "operator", "syncmaster-bridge", "syncmaster-worker"]


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
