"""Who may do what: every route against every way of asking."""

from __future__ import annotations

import time

import pytest

from agents.authz import Authorizer
from gateway.api_keys import LoginRefused
from gateway.app import REGISTRIES
from gateway.auth import Keyring
from gateway.registry import Operation
from gateway.sessions import SESSION_COOKIE
from streams.control_reader import ControlReader
from streams.errors import ConfigError
from streams.settings import Principal, SecretRef, Settings
from streams.settings_access import VERBS
from tests.gateways import World

OPERATIONS = [operation for registry in REGISTRIES for operation in registry.operations]
GUARDED = [operation for operation in OPERATIONS if operation.guarded]
BY_VERB = [operation for operation in OPERATIONS if operation.verbs]
OPEN = {"/livez", "/readyz", "/metrics", "/login", "/logout"}


def path_of(operation: Operation) -> str:
    return operation.path.replace("{", "").replace("}", "")


def without(world: World, *verbs: str) -> str:
    """A principal that has every verb but these."""
    left = [verb for verb in VERBS if verb not in verbs]
    world.rule("operator", *([{"verbs": left}] if left else []))
    return "operator"


def test_what_is_open() -> None:
    """Nothing is open but the probes, the metrics, and what takes the key or gives it up."""
    assert {operation.path for operation in OPERATIONS if not operation.guarded} == OPEN


@pytest.mark.parametrize("operation", GUARDED, ids=lambda o: f"{o.method} {o.path}")
async def test_no_key(world: World, operation: Operation) -> None:
    """Without a key the answer is 401 and says how to give one."""
    response = await world.request(operation.method, path_of(operation))
    assert (response.status, (await response.json())["code"]) == (401, "auth.missing")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("operation", GUARDED, ids=lambda o: f"{o.method} {o.path}")
async def test_unknown_key(world: World, operation: Operation) -> None:
    """A key that nobody has is 401, and is not repeated."""
    headers = {"Authorization": "Bearer not-a-key-of-ours-0123"}
    response = await world.request(operation.method, path_of(operation), headers=headers)
    text = await response.text()
    assert (response.status, "auth.unknown_key" in text, "not-a-key-of-ours" in text) == (401, True, False)


@pytest.mark.parametrize("operation", BY_VERB, ids=lambda o: f"{o.method} {o.path}")
async def test_key_without_the_verb(world: World, operation: Operation) -> None:
    """A known key without the verb is 403, and the problem names the verb."""
    response = await world.request(operation.method, path_of(operation), by=without(world, *operation.verbs))
    problem = await response.json()
    assert (response.status, problem["code"], problem["verbs"]) == (403, "auth.denied", list(operation.verbs))
    assert all(f"`{verb}`" in problem["detail"] for verb in operation.verbs)


@pytest.mark.parametrize("operation", BY_VERB, ids=lambda o: f"{o.method} {o.path}")
async def test_key_with_one_of_the_verbs(world: World, operation: Operation) -> None:
    """One of the verbs is enough to be heard."""
    others = {*VERBS} - {operation.verbs[-1]}
    response = await world.request(operation.method, path_of(operation), by=without(world, *others))
    assert response.status not in (401, 403)


@pytest.mark.parametrize("scheme", ["Basic", "bearer", "BEARER"])
async def test_scheme(world: World, scheme: str) -> None:
    """The scheme is Bearer in any case, and nothing else."""
    response = await world.get("/v1/components", by=None, headers={"Authorization": f"{scheme} {world.key_of('operator')}"})
    assert response.status == (401 if scheme == "Basic" else 200)


def keyring(*environment: str) -> Keyring:
    keys = tuple(SecretRef(env=name) for name in environment)
    settings = Settings(cluster="test", principals={"c4": Principal(api_keys=keys), "other": Principal()})
    return Keyring(settings, Authorizer(settings), ControlReader(settings.kafka))


def test_several_keys_of_one_principal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every listed key of a principal is good, so that one can be replaced without downtime."""
    monkeypatch.setenv("OLD", "old-0123456789abcdef")
    monkeypatch.setenv("NEW", "new-0123456789abcdef")
    both = keyring("OLD", "NEW")
    assert both.open_session("old-0123456789abcdef")
    assert both.open_session("new-0123456789abcdef")
    with pytest.raises(LoginRefused):
        both.open_session("old-0123456789abcdeX")


def test_short_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that can be guessed stops the start; the message does not hold it."""
    monkeypatch.setenv("SHORT", "hunter2")
    with pytest.raises(ConfigError, match="openssl rand") as caught:
        keyring("SHORT")
    assert "hunter2" not in str(caught.value)


async def log_in(world: World, by: str = "operator") -> str:
    response = await world.post("/login", by=None, data={"key": world.key_of(by)})
    assert (response.status, response.headers["Location"]) == (303, "/")
    return response.cookies[SESSION_COOKIE].value


async def test_login_makes_a_strict_cookie(world: World) -> None:
    """The session is a cookie that scripts and other sites never see, and that does not hold the key."""
    response = await world.post("/login", by=None, data={"key": world.key_of("operator")})
    cookie = response.cookies[SESSION_COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert world.key_of("operator") not in response.headers["Set-Cookie"]


async def test_cookie_is_secure_over_https(world: World) -> None:
    """Behind a proxy that ends TLS the cookie is for TLS only."""
    response = await world.post("/login", by=None, headers={"X-Forwarded-Proto": "https"}, data={"key": world.key_of("operator")})
    assert response.cookies[SESSION_COOKIE]["secure"]


async def test_session_reads(world: World) -> None:
    """A session reads like its key."""
    cookie = f"{SESSION_COOKIE}={await log_in(world)}"
    assert (await world.get("/v1/components", by=None, headers={"Cookie": cookie})).status == 200


@pytest.mark.parametrize("change", ["other.", "expired", "forged", "cut", "empty"])
async def test_session_that_is_not_ours(world: World, change: str) -> None:
    """A session that was changed, has expired or was made up is no session."""
    name, expires, signature = (await log_in(world)).split(".")
    made_up = {
        "other.": f"c4.{expires}.{signature}",
        "expired": f"{name}.{int(time.time()) - 1}.{signature}",
        "forged": f"{name}.{expires}.{'0' * 64}",
        "cut": f"{name}.{expires}",
        "empty": "",
    }
    headers = {"Cookie": f"{SESSION_COOKIE}={made_up[change]}"}
    assert (await world.get("/v1/components", by=None, headers=headers)).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"sm-request": "1"}, 202),
        ({"sm-request": "1", "Origin": "https://evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"sm-request": "1", "Origin": "null"}, 403),
    ],
)
async def test_session_writes_only_from_our_own_pages(world: World, headers: dict[str, str], status: int) -> None:
    """A write with a cookie needs our header and no foreign origin."""
    cookie = f"{SESSION_COOKIE}={await log_in(world)}"
    response = await world.post("/v1/sync", by=None, headers=headers | {"Cookie": cookie}, json={"component": "c20"})
    assert response.status == status


async def test_login_from_another_site(world: World) -> None:
    """Nobody is logged in by a form of another site."""
    response = await world.post(
        "/login", by=None, headers={"Origin": "https://evil.example"}, data={"key": world.key_of("operator")}
    )
    assert (response.status, SESSION_COOKIE in response.cookies) == (403, False)


async def test_login_with_a_wrong_key(world: World) -> None:
    """A wrong key gives the form again, and no cookie."""
    response = await world.post("/login", by=None, data={"key": "wrong"})
    assert (response.status, SESSION_COOKIE in response.cookies, "not one of ours" in await response.text()) == (401, False, True)


async def test_logout(world: World) -> None:
    """Logging out takes the cookie away."""
    response = await world.post("/logout", by=None)
    assert (response.status, response.cookies[SESSION_COOKIE].value) == (303, "")
