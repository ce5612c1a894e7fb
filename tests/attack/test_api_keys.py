"""The HTTP door's lock: keys that are expired, revoked, of another scope, made up or pieced together, and cookies that are forged.

What must be true: nobody gets further than their key goes, a dead key opens nothing, and each refusal says which of these it is, but
only to who holds the secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from typing import Any

import pytest

from gateway import api_keys
from gateway.app import REGISTRIES
from gateway.sessions import SESSION_COOKIE
from streams.control import ApiKey
from tests.gateways import World

PATH = "/v1/components"


async def add(world: World, **fields: Any) -> str:
    """A key of c8's, as [control] has it; returns what its holder has."""
    ident, hashed, text = api_keys.mint()
    key = ApiKey(**{"id": ident, "principal": "c8", "hash": hashed, "expires_ms": now_ms() + 60_000} | fields)
    await world.log.decide(key, commands=[])
    return text


def now_ms() -> int:
    return int(time.time() * 1000)


async def answer(world: World, key: str, path: str = PATH, method: str = "GET", **options: Any) -> tuple[int, str]:
    response = await world.request(method, path, headers={"Authorization": f"Bearer {key}"}, **options)
    return response.status, (await response.json()).get("code", "")


# -- dead keys ---------------------------------------------------------------------------------------------------------------


async def test_an_expired_key(world: World) -> None:
    """Opens nothing from the moment of its expiry, on any route."""
    key = await add(world, expires_ms=now_ms())
    for path in (PATH, "/v1/keys", "/"):
        assert await answer(world, key, path) == (401, "auth.key_expired")


async def test_a_key_expires_while_it_is_used(world: World) -> None:
    """No cache remembers that it was good."""
    key = await add(world, expires_ms=now_ms() + 300)
    assert await answer(world, key) == (200, "")
    deadline = time.monotonic() + 5
    while (await answer(world, key))[0] == 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert await answer(world, key) == (401, "auth.key_expired")


async def test_a_revoked_key(world: World) -> None:
    """Opens nothing, whatever its expiry says."""
    key = await add(world, revoked_ms=1)
    assert await answer(world, key) == (401, "auth.key_revoked")


async def test_a_key_whose_principal_is_gone(world: World) -> None:
    """Who was taken out of the configuration is not let in by a key that was forgotten."""
    key = await add(world, principal="former")
    assert await answer(world, key) == (401, "auth.principal_unknown")


async def test_state_is_told_only_to_the_holder(world: World) -> None:
    """An id with a wrong secret is unknown, whether the key is good, expired, revoked or none."""
    wrong = "A" * 43
    for fields in ({}, {"expires_ms": 1}, {"revoked_ms": 1}, {"principal": "former"}):
        ident = (await add(world, **fields)).split("_")[1]
        assert await answer(world, f"sm_{ident}_{wrong}") == (401, "auth.unknown_key")
    assert await answer(world, f"sm_{'a' * 12}_{wrong}") == (401, "auth.unknown_key")


async def test_a_gateway_that_hears_nothing_refuses(world: World) -> None:
    """A key may have been revoked meanwhile: 503 until the log is heard again. Keys of the configuration hold."""
    key = await add(world)
    world.control.fresh_at = time.monotonic() - world.settings.gateway.keys_stale_s_max
    assert await answer(world, key) == (503, "auth.keys_stale")
    assert await answer(world, world.key_of("c8")) == (200, "")
    world.control.fresh_at = time.monotonic()
    assert await answer(world, key) == (200, "")


# -- made-up keys ------------------------------------------------------------------------------------------------------------


async def test_keys_that_are_pieced_together(world: World) -> None:
    """A key is one whole: neither half of two, nor the stored hash, nor a prefix, nor more of it opens anything."""
    one, other = await add(world), await add(world, principal="operator")
    (_, ident, secret), (_, _, other_secret) = one.split("_", 2), other.split("_", 2)
    stored = world.control.keys[ident].hash
    forms = [f"sm_{ident}_{other_secret}", f"sm_{ident}_{stored}", stored, secret, one[:-1], one + "A", one.upper(), f"x{one}"]
    forms += [
        f"sm_{ident}",
        f"sm_{ident}_",
        f"sm__{secret}",
        "sm__",
        "_",
        f"SM_{ident}_{secret}",
        f"{one}\t",
        f"{one} {one}",
        "é" * 40,
    ]
    for form in forms:
        if form.strip() != one:
            assert await answer(world, form) == (401, "auth.unknown_key"), form


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic b3BlcmF0b3I6eA==",
        "Digest x",
        "{key}",
        "Token {key}",
        "Bearer: {key}",
        "Bearer,{key}",
        "Bearer\t{key}",
    ],
)
async def test_other_ways_to_say_it(world: World, authorization: str) -> None:
    """The scheme is Bearer, one blank, the key."""
    headers = {"Authorization": authorization.replace("{key}", await add(world))}
    assert (await world.request("GET", PATH, headers=headers)).status == 401


async def test_two_keys_at_once(world: World) -> None:
    """Which of two is meant is nobody's to choose, in whatever order a proxy and we would read them."""
    good, bad = await add(world), "sm_" + "a" * 12 + "_" + "A" * 43
    for first, second in ((good, bad), (bad, good), (good, good)):
        headers = [("Authorization", f"Bearer {first}"), ("Authorization", f"Bearer {second}")]
        response = await world.client.session.get(world.client.make_url(PATH), headers=headers)
        assert (response.status, (await response.json())["code"]) == (401, "auth.malformed")


@pytest.mark.parametrize("place", ["?key={key}", "?api_key={key}", "?access_token={key}", "?authorization=Bearer%20{key}"])
async def test_a_key_in_the_address_is_none(world: World, place: str) -> None:
    """Addresses end up in logs and histories."""
    assert (await world.request("GET", PATH + place.replace("{key}", await add(world)))).status == 401


@pytest.mark.parametrize(
    "header", ["X-API-Key", "X-Auth-Token", "Proxy-Authorization", "X-Forwarded-User", "X-Remote-User", "sm-principal"]
)
async def test_other_headers_are_nobody(world: World, header: str) -> None:
    """Whatever a proxy elsewhere might put there."""
    for text in (await add(world), "operator"):
        assert (await world.request("GET", PATH, headers={header: text})).status == 401


async def test_a_huge_key_costs_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even hashed; a header that is too large is refused by the server."""
    monkeypatch.delattr(api_keys, "digest")
    assert await answer(world, "A" * 8000) == (401, "auth.unknown_key")
    response = await world.request("GET", PATH, headers={"Authorization": "Bearer " + "A" * 200_000})
    assert response.status == 400


# -- scopes ------------------------------------------------------------------------------------------------------------------


async def test_a_key_of_another_scope(world: World) -> None:
    """The operator may do everything; a key of the operator's that is for something else may not, on any route."""
    for operation in (operation for registry in REGISTRIES for operation in registry.operations if operation.verbs):
        scope = next(verb for verb in ("read", "hold") if verb not in operation.verbs)
        key = await add(world, principal="operator", scopes=(scope,))
        path = operation.path.replace("{", "").replace("}", "")
        assert (path, *await answer(world, key, path, operation.method)) == (path, 403, "auth.scope")


async def test_a_scope_gives_nothing(world: World) -> None:
    """A key for `admin` of a principal that is no admin is a key for nothing."""
    key = await add(world, principal="c8", scopes=("admin",))
    assert await answer(world, key, "/v1/keys") == (403, "auth.denied")


async def test_a_key_makes_none_that_may_more(world: World) -> None:
    """A key for administration only cannot mint one for everything, nor rotate one into its hands."""
    narrow = await add(world, principal="operator", scopes=("admin", "read"))
    wide = (await add(world, principal="operator")).split("_")[1]
    for asked in ({"principal": "operator"}, {"principal": "operator", "scopes": ["sync"]}, {"principal": "c8"}):
        assert await answer(world, narrow, "/v1/keys", "POST", json=asked) == (403, "auth.scope")
    assert await answer(world, narrow, f"/v1/keys/{wide}/rotate", "POST", json={}) == (403, "auth.scope")
    assert (await answer(world, narrow, "/v1/keys", "POST", json={"principal": "operator", "scopes": ["read"]}))[0] == 201


# -- sessions ----------------------------------------------------------------------------------------------------------------


async def log_in(world: World, key: str) -> str:
    response = await world.post("/login", by=None, data={"key": key})
    assert response.status == 303, await response.text()
    return response.cookies[SESSION_COOKIE].value


async def with_cookie(world: World, cookie: str, path: str = PATH, method: str = "GET", **options: Any) -> tuple[int, str]:
    headers = {"Cookie": f"{SESSION_COOKIE}={cookie}"} | options.pop("headers", {})
    response = await world.request(method, path, headers=headers, **options)
    return response.status, (await response.json()).get("code", "")


async def test_a_session_dies_with_its_key(world: World) -> None:
    """Revoked, expired, or its principal gone: the cookie is worth nothing in the same moment."""
    key = await add(world)
    cookie, ident = await log_in(world, key), key.split("_")[1]
    assert await with_cookie(world, cookie) == (200, "")
    response = await world.post(f"/v1/keys/{ident}/revoke", json={})
    assert response.status == 200
    assert await with_cookie(world, cookie) == (401, "auth.session_ended")


async def test_a_session_ends_no_later_than_its_key(world: World) -> None:
    """The expiry in the cookie is the key's, where that is earlier than the session's own."""
    expires_ms = now_ms() + 60_000
    cookie = await log_in(world, await add(world, expires_ms=expires_ms))
    assert int(cookie.split(".")[1]) <= expires_ms // 1000


async def test_a_session_has_the_scopes_of_its_key(world: World) -> None:
    """The detour over the form gives nothing more."""
    cookie = await log_in(world, await add(world, principal="operator", scopes=("read",)))
    assert await with_cookie(world, cookie) == (200, "")
    posted = await with_cookie(world, cookie, "/v1/sync", "POST", headers={"sm-request": "1"}, json={"component": "c20"})
    assert posted == (403, "auth.scope")


@pytest.mark.parametrize("fields", [{"expires_ms": 1}, {"revoked_ms": 1}, {"principal": "former"}])
async def test_a_dead_key_opens_no_session(world: World, fields: dict[str, Any]) -> None:
    """The form says why, and sets no cookie."""
    response = await world.post("/login", by=None, data={"key": await add(world, **fields)})
    assert (response.status, SESSION_COOKIE in response.cookies) == (401, False)


async def test_who_reads_the_log_signs_no_cookie(world: World) -> None:
    """[control] holds the hash of every key; nothing that can be made of it alone is a session."""
    ident = (await add(world, principal="operator")).split("_")[1]
    known = bytes.fromhex(world.control.keys[ident].hash)
    text = f"{ident}.{int(time.time()) + 3600}"
    for secret in (known, known.hex().encode(), hashlib.sha256(known).digest(), b"", b"sessions\0"):
        for message in (text.encode(), b"session\0" + text.encode()):
            signature = hmac.new(secret, message, hashlib.sha256).hexdigest()
            assert await with_cookie(world, f"{text}.{signature}") == (401, "auth.session_ended")


async def test_cookies_that_are_changed(world: World) -> None:
    """Another key's id, a later expiry, no signature, an empty one, more dots, other digits, garbage, much of it."""
    mine, other = await add(world), (await add(world, principal="operator")).split("_")[1]
    ident, expires, signature = (await log_in(world, mine)).split(".")
    later = str(int(expires) + 1)
    forged = [
        f"{other}.{expires}.{signature}",
        f"{ident}.{later}.{signature}",
        f"{ident}.{expires}.",
        f"{ident}.{expires}",
        f"{ident}.{expires}.{signature}.{signature}",
        f"{ident}.{expires}.{signature.upper()}",
        f"{ident}..{signature}",
        f"{ident}.99999999999.{signature}",
        f"{ident}.-1.{signature}",
        f"{ident}.1e12.{signature}",
        f"operator.{expires}.{signature}",
        f"{ident}%2e{expires}%2e{signature}",
        "." * 100,
        "A" * 4000,
        f"{ident}.{expires}.{'é' * 32}",
    ]
    for cookie in forged:
        assert (await with_cookie(world, cookie))[0] == 401, cookie
    assert await with_cookie(world, f"{ident}.{expires}.{signature}") == (200, "")


async def test_a_session_of_another_installation(world: World) -> None:
    """What signs is made of a secret of this installation's gateways: the same key elsewhere gives another cookie."""
    from gateway.sessions import Sessions

    credential = world.keyring.keys.good((await add(world)).split("_")[1])
    assert credential is not None
    elsewhere = Sessions(world.keyring.keys, hashlib.sha256(b"sessions\0another password").digest()).open(credential)
    assert await with_cookie(world, elsewhere) == (401, "auth.session_ended")


# -- refusals are told -------------------------------------------------------------------------------------------------------


async def test_refusals_are_audited_and_tell_no_secret(world: World) -> None:
    """Code, address, route, whose key as far as that is certain; nothing of what was sent."""
    key = await add(world, revoked_ms=1)
    await answer(world, key)
    await world.refusals._flush()
    ((where, command),) = world.log.commands
    assert (where, command.verb, command.code, command.principal) == ("gateway/c8", "record", "auth.key_revoked", "c8")
    assert (command.subject, command.remote, command.detail) == (key.split("_")[1], "127.0.0.1", f"at {PATH}")
    assert key.split("_", 2)[2] not in str(world.log.commands)


async def test_a_flood_of_bad_keys_is_no_flood_of_records(world: World) -> None:
    """Fifty tries of an attacker are one record now and one later; the metric counts them all."""
    for n in range(50):
        await answer(world, f"sm_{'a' * 12}_{str(n).rjust(43, 'A')}")
    await world.refusals._flush()
    assert len(world.log.commands) == 1
    assert next(iter(world.refusals._windows.values())).swallowed == 49


async def test_a_person_without_a_session_is_no_attack(world: World) -> None:
    """The login form is an answer, not a refusal; a wrong key in it is one."""
    page = await world.request("GET", "/", headers={"Accept": "text/html"})
    assert (page.status, len(world.refusals._waiting)) == (401, 0)
    await world.post("/login", by=None, data={"key": "sm_wrong"})
    assert [command.code for command in world.refusals._waiting.values()] == ["auth.unknown_key"]
