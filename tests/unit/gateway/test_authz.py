"""/v1/authz: what somebody may do, told with the rule that decides."""

from __future__ import annotations

from typing import Any

import pytest

from streams.settings_access import VERBS
from tests.gateways import World


async def asked(world: World, query: str, *, by: str = "c24") -> Any:
    response = await world.get(f"/v1/authz?{query}", by=by)
    return await response.json()


async def test_one_verb(world: World) -> None:
    """The answer names the rule; a denial names none."""
    world.rule("c24", {"verbs": ["read"]}, {"verbs": ["sync"], "artifacts": ["chart/*"]})
    yes = await asked(world, "verb=sync&artifact=chart%2Fa")
    no = await asked(world, "verb=sync&artifact=image%2Fa")
    assert (yes["principal"], yes["artifact"]) == ("c24", "chart/a")
    assert yes["items"] == [{"verb": "sync", "allowed": True, "rule": "binding of-c24 -> role of-c24, rule 1"}]
    assert no["items"] == [{"verb": "sync", "allowed": False, "rule": ""}]


async def test_every_verb(world: World) -> None:
    """Without a verb each of them is answered, about everything if nothing is named."""
    world.rule("c24", {"verbs": ["read", "sync"]}, {"verbs": ["hold"], "components": ["c20"]})
    allowed = {item["verb"]: item["allowed"] for item in (await asked(world, ""))["items"]}
    assert allowed == {verb: verb in ("read", "sync") for verb in VERBS}
    of_c20 = await asked(world, "component=c20&verb=hold")
    assert of_c20["items"][0]["allowed"]


async def test_about_oneself_without_any_rule(world: World) -> None:
    """Any key may ask what it may; the answer is nothing."""
    world.rule("c24")
    assert not any(item["allowed"] for item in (await asked(world, ""))["items"])


async def test_scopes_of_the_key(world: World) -> None:
    """What the key is not for is denied, and that is the reason."""
    made = await (await world.post("/v1/keys", json={"principal": "operator", "scopes": ["read"]})).json()
    response = await world.get("/v1/authz", by=None, headers={"Authorization": f"Bearer {made['key']}"})
    found = {item["verb"]: (item["allowed"], item["rule"]) for item in (await response.json())["items"]}
    assert found["read"] == (True, "binding operators -> role operator, rule 0")
    assert found["admin"] == (False, "the key's scopes")


@pytest.mark.parametrize(("by", "status"), [("operator", 200), ("c24", 403)])
async def test_about_others(world: World, by: str, status: int) -> None:
    """Only with `admin`; whoever has it gets the other's permissions, and not their own."""
    world.rule("c4", {"verbs": ["hold"]})
    response = await world.get("/v1/authz?principal=c4&verb=hold", by=by)
    assert response.status == status
    if status == 200:
        assert (await response.json())["items"] == [
            {"verb": "hold", "allowed": True, "rule": "binding of-c4 -> role of-c4, rule 0"}
        ]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [("principal=nobody", 404, "principal.unknown"), ("verb=fly", 400, "query.invalid"), ("verbs=read", 400, "query.invalid")],
)
async def test_questions_without_an_answer(world: World, query: str, status: int, code: str) -> None:
    """An unknown principal or verb is told, not answered with no."""
    response = await world.get(f"/v1/authz?{query}")
    assert (response.status, (await response.json())["code"]) == (status, code)
