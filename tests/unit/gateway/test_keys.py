"""API keys over HTTP and on the command line: made, listed, rotated, revoked. What a bad key meets: tests/attack/test_api_keys.py."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway import api_keys
from gateway.cli.main import app
from gateway.operations import keys as operations
from streams import control
from streams.control import ApiKey
from tests.gateways import World


async def make(world: World, by: str = "operator", status: int = 201, **asked: Any) -> dict[str, Any]:
    response = await world.post("/v1/keys", by=by, json={"principal": "c8"} | asked)
    assert response.status == status, await response.text()
    answer: dict[str, Any] = await response.json()
    return answer


async def use(world: World, key: str, path: str = "/v1/components") -> int:
    response = await world.get(path, by=None, headers={"Authorization": f"Bearer {key}"})
    return response.status


async def test_a_new_key_opens_at_once(world: World) -> None:
    """It has the form sm_<id>_<secret>, is its principal's, and is shown in that answer only."""
    made = await make(world, description="ci")
    assert re.fullmatch(rf"sm_{made['id']}_[A-Za-z0-9_-]{{43}}", made["key"])
    assert await use(world, made["key"]) == 200
    listed = await (await world.get("/v1/keys")).text()
    assert (made["id"] in listed, made["key"].rpartition("_")[2] in listed) == (True, False)


async def test_the_list_shows_all_keys_and_opens_none(world: World) -> None:
    """Those of the configuration and those of the log, by id, page by page; never a hash."""
    made = [await make(world) for _ in range(3)]
    pages = await world.pages("/v1/keys?limit=2")
    items = [item for page in pages for item in page]
    assert [len(page) for page in pages][:2] == [2, 2]
    assert [item["id"] for item in items] == sorted(item["id"] for item in items)
    assert {item["id"] for item in made} < {item["id"] for item in items}
    assert {item["origin"] for item in items} == {"configuration", "log"}
    assert world.control.keys[made[0]["id"]].hash not in json.dumps(items)


@pytest.mark.parametrize(("query", "count"), [("principal=c4", 1), ("principal=c8&state=good", 2), ("state=revoked", 1)])
async def test_the_list_is_filtered(world: World, query: str, count: int) -> None:
    """By principal and state."""
    gone, _ = await make(world), await make(world)
    await world.post(f"/v1/keys/{gone['id']}/revoke", json={})
    (page,) = await world.pages(f"/v1/keys?{query}")
    assert len(page) == count


async def test_rotation_leaves_two_good_keys(world: World) -> None:
    """The second key has the same principal and scopes; the first stays good for the overlap, and no longer."""
    old = await make(world, scopes=["read"])
    response = await world.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 3600})
    new = await response.json()
    assert (response.status, new["replaces"], new["principal"], new["scopes"]) == (201, old["id"], "c8", ["read"])
    assert [await use(world, key["key"]) for key in (old, new)] == [200, 200]
    ending = world.control.keys[old["id"]]
    assert ending.expires_ms - world.control.keys[new["id"]].created_ms == pytest.approx(3_600_000, abs=1000)


async def test_rotation_never_prolongs_the_old_key(world: World) -> None:
    """An overlap that is longer than the old key's life changes nothing about it."""
    old = await make(world, expires_in_s=60)
    await world.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 86_400})
    assert world.control.keys[old["id"]].expires_ms <= world.control.keys[old["id"]].created_ms + 60_000


async def test_a_dead_key_is_not_rotated(world: World) -> None:
    """Whoever holds the id of a revoked key gets no new one by it."""
    old = await make(world)
    await world.post(f"/v1/keys/{old['id']}/revoke", json={})
    response = await world.post(f"/v1/keys/{old['id']}/rotate", json={})
    assert (response.status, (await response.json())["code"]) == (422, "key.not_good")


async def test_revoking_keeps_the_record(world: World) -> None:
    """The list shows when; revoking again is no error and changes nothing."""
    made = await make(world)
    first, again = [await world.post(f"/v1/keys/{made['id']}/revoke", json={"reason": "lost"}) for _ in range(2)]
    told = await first.json()
    assert (first.status, told["state"], await again.json()) == (200, "revoked", told)
    assert [command.code for _, command in world.log.commands] == ["key.created", "key.revoked"]


async def test_every_change_is_audited_without_the_secret(world: World) -> None:
    """Who, from where, which key, for whom; in the same decision as the key."""
    made = await make(world, scopes=["read"])
    await world.post(f"/v1/keys/{made['id']}/revoke", json={"reason": "lost laptop"})
    (key, created), (_, revoked) = world.log.commands
    assert (key, created.verb, created.principal, created.subject) == ("gateway/operator", "record", "operator", made["id"])
    assert (created.remote, created.code, "for c8, read" in created.detail) == ("127.0.0.1", "key.created", True)
    assert (revoked.code, revoked.reason) == ("key.revoked", "lost laptop")
    assert made["key"].rpartition("_")[2] not in str(world.log.commands)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"principal": "nobody"}, 422, "principal.unknown"),
        ({"expires_in_s": 59}, 422, "body.invalid"),
        ({"expires_in_s": 367 * 86_400}, 422, "body.invalid"),
        ({"scopes": ["everything"]}, 422, "body.invalid"),
    ],
)
async def test_what_is_no_key(world: World, change: dict[str, Any], status: int, code: str) -> None:
    """A principal that is not declared, a life without end, a verb that is none: refused, and nothing is made."""
    problem = await make(world, status=status, **change)
    assert (problem["code"], dict(world.control.keys)) == (code, {})


async def test_keys_of_the_configuration_are_changed_there(world: World) -> None:
    """They are listed, and neither rotated nor revoked here; an id that is none is 404."""
    (page,) = await world.pages("/v1/keys?principal=operator")
    for ident, status, code in ((page[0]["id"], 422, "key.configured"), ("abcabcabcabc", 404, "key.unknown")):
        for verb in ("revoke", "rotate"):
            response = await world.post(f"/v1/keys/{ident}/{verb}", json={})
            assert (response.status, (await response.json())["code"]) == (status, code)


async def test_keys_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room the oldest dead key is forgotten; where all are good, no more are made."""
    for module in (control, operations):
        monkeypatch.setattr(module, "KEYS_MAX", 2)
    first, second = await make(world), await make(world)
    assert (await make(world, status=422))["code"] == "key.too_many"
    await world.post(f"/v1/keys/{first['id']}/revoke", json={})
    third = await make(world)
    assert set(world.control.keys) == {second["id"], third["id"]}


def test_minted_keys_differ() -> None:
    """Ids and secrets are random; the hash is that of the secret part."""
    made = [api_keys.mint() for _ in range(100)]
    assert len({ident for ident, _, _ in made}) == len({text for _, _, text in made}) == 100
    ident, hashed, text = made[0]
    assert api_keys.digest(text.removeprefix(f"sm_{ident}_")).hex() == hashed


Cli = Callable[..., Any]


@pytest.fixture
def cli(world: World) -> Cli:
    async def run(*arguments: str) -> Result:
        environment = {"SYNCMASTER_URL": str(world.client.make_url("/")), "SYNCMASTER_API_KEY": world.key_of("operator")}
        return await asyncio.to_thread(CliRunner().invoke, app, ["keys", *arguments], env=environment)

    return run


async def test_a_key_on_the_command_line(world: World, cli: Cli) -> None:
    """`create` prints the key alone on stdout; `rotate` a second one, `revoke` ends both, `list` tells."""
    created = await cli("create", "c8", "--scope", "read", "--expires", "2h", "--description", "ci")
    key = created.stdout.strip()
    ident = key.split("_")[1]
    assert (created.exit_code, await use(world, key)) == (0, 200)
    assert world.control.keys[ident].expires_ms - world.control.keys[ident].created_ms == 7_200_000
    assert "not shown again" in created.stderr
    rotated = await cli("rotate", ident, "--overlap", "1h")
    assert (f"replaces {ident}" in rotated.stderr, await use(world, rotated.stdout.strip())) == (True, 200)
    assert (await cli("revoke", ident, "--reason", "test")).exit_code == 0
    assert await use(world, key) == 401
    listed = json.loads((await cli("list", "--principal", "c8", "--format", "json")).stdout)
    assert sorted(item["state"] for item in listed if item["origin"] == "log") == ["good", "revoked"]
    assert key.rpartition("_")[2] not in (await cli("list")).stdout


async def test_what_fails_on_the_command_line(cli: Cli) -> None:
    """A problem is one sentence on stderr and exit code 1; a duration that is none is a usage error."""
    unknown = await cli("revoke", "abcabcabcabc")
    assert (unknown.exit_code, "there is no key of this id" in unknown.stderr) == (1, True)
    assert (await cli("create", "c8", "--expires", "soon")).exit_code == 2


def test_a_key_says_what_it_is(world: World) -> None:
    """A secret never appears in the representation of what is kept."""
    ident, hashed, text = api_keys.mint()
    assert text.rpartition("_")[2] not in repr(ApiKey(ident, "c8", hashed))
