"""/v1/holds: who may stop what, what is told of it, and how it is let go."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from tests.gateways import World, behind, in_sync


async def made(world: World, by: str = "operator", **body: Any) -> dict[str, Any]:
    response = await world.post("/v1/holds", by=by, json={"reason": "test"} | body)
    view: dict[str, Any] = await response.json()
    assert response.status == 202, view
    assert response.headers["Location"] == f"/v1/holds/{view['id']}"
    return view


async def listed(world: World, query: str = "", by: str = "operator") -> list[str]:
    response = await world.get(f"/v1/holds?{query}", by=by)
    assert response.status == 200, await response.text()
    return [hold["id"] for hold in (await response.json())["items"]]


@pytest.mark.parametrize(
    ("body", "verb"),
    [
        ({"artifacts": ["chart/a"]}, "hold"),
        ({"artifacts": ["chart/*", "image/*"]}, "hold"),
        ({"component": "c20"}, "pause"),
        ({"artifacts": ["chart/*"], "component": "c20"}, "halt"),
        ({"everything": True}, "halt"),
    ],
)
async def test_the_verb_is_the_bodys(world: World, body: dict[str, Any], verb: str) -> None:
    """Artifacts are held, a component is paused, everything and any combination is halted; each takes the verb of that name."""
    world.rule("c8", {"verbs": [verb, "read"]})
    view = await made(world, by="c8", **body)
    assert (view["verb"], view["principal"], view["reason"]) == (verb, "c8", "test")
    world.rule("c8", {"verbs": [v for v in ("hold", "pause", "halt") if v != verb]})
    response = await world.post("/v1/holds", by="c8", json=body | {"reason": "test"})
    assert response.status == 403


async def test_a_rule_must_cover_the_whole_pattern(world: World) -> None:
    """Who may hold some artifacts may hold neither a pattern that is wider, nor a component for all of them."""
    world.rule("c8", {"verbs": ["hold", "halt"], "artifacts": ["chart/team-*"], "components": ["c20"]})
    statuses = []
    for body in (
        {"artifacts": ["chart/team-a"], "component": "c20"},
        {"artifacts": ["chart/team-a*"], "component": "c20"},
        {"artifacts": ["chart/*"], "component": "c20"},
        {"artifacts": ["chart/team-a", "chart/b"], "component": "c20"},
        {"artifacts": ["chart/team-a"], "component": "c28"},
        {"artifacts": ["chart/team-a"]},
        {"component": "c20"},
        {"everything": True},
    ):
        statuses.append((await world.post("/v1/holds", by="c8", json=body | {"reason": "test"})).status)
    assert statuses == [202, 202, 403, 403, 403, 403, 403, 403]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"everything": True, "component": "c20"},
        {"everything": False},
        {"artifacts": [""]},
        {"artifacts": ["chart/a"], "reason": " "},
        {"artifacts": ["chart/a"], "until": "tomorrow"},
        {"component": "c99"},
    ],
)
async def test_requests_that_are_refused(world: World, body: dict[str, Any]) -> None:
    """What would stop nothing, or more than was meant, or without a reason, is refused."""
    response = await world.post("/v1/holds", json={"reason": "test"} | body)
    assert response.status == 422, await response.text()
    assert await listed(world) == []


async def test_a_hold_and_its_release_are_audited(world: World) -> None:
    """The command stands beside the decision, in its artifact's chain where it is about one: who, why, from where, by which rule."""
    one, all_charts = await made(world, artifacts=["chart/a"]), await made(world, artifacts=["chart/*"])
    response = await world.post(f"/v1/holds/{one['id']}/release", json={"reason": "mended"})
    assert response.status == 202
    keys = [key for key, _ in world.log.commands]
    assert keys == ["chart/a", f"hold/{all_charts['id']}", "chart/a"]
    held, _, released = (command for _, command in world.log.commands)
    assert (held.verb, held.principal, held.reason, held.subject) == ("hold", "operator", "test", one["id"])
    assert (released.verb, released.reason, released.subject) == ("release", "mended", one["id"])
    assert held.rule == "binding operators -> role operator, rule 0"
    assert held.remote == "127.0.0.1"
    assert held.detail == "chart/a to all components"


async def test_release(world: World) -> None:
    """Whoever may release it lets it go, with a reason; then it is not there any more."""
    view = await made(world, artifacts=["chart/a"])
    world.rule("c8", {"verbs": ["release"], "artifacts": ["chart/b"]})
    path = f"/v1/holds/{view['id']}"
    assert (await world.post(f"{path}/release", by="c8", json={"reason": "mended"})).status == 403
    assert (await world.post(f"{path}/release", json={})).status == 422
    assert (await world.get(path)).status == 200
    assert (await world.post(f"{path}/release", json={"reason": "mended"})).status == 202
    assert (await world.get(path)).status == 404
    assert (await world.post(f"{path}/release", json={"reason": "mended"})).status == 404


async def test_the_list_is_filtered(world: World) -> None:
    """By what a hold stops, and by what the caller may read; one about no artifact in particular concerns everybody."""
    chart = (await made(world, artifacts=["chart/*"]))["id"]
    image = (await made(world, artifacts=["image/a"], component="c12"))["id"]
    pause = (await made(world, component="c20"))["id"]
    assert set(await listed(world)) == {chart, image, pause}
    assert set(await listed(world, "artifact=chart/a")) == {chart, pause}
    assert set(await listed(world, "component=c20")) == {chart, pause}
    assert await listed(world, "verb=halt") == [image]
    world.rule("c8", {"verbs": ["read"], "artifacts": ["image/*"]})
    assert set(await listed(world, by="c8")) == {image, pause}
    assert (await world.get(f"/v1/holds/{chart}", by="c8")).status == 404


async def test_pages(world: World) -> None:
    """Pages follow each other without a gap."""
    ids = {(await made(world, artifacts=[f"chart/{number}"]))["id"] for number in range(5)}
    pages = await world.pages("/v1/holds?limit=2")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {hold["id"] for page in pages for hold in page} == ids


async def test_the_state_tells_what_holds_it(world: World) -> None:
    """An artifact, its pairs, a component and the status tell by whom, why and since when; the entity tag moves with it."""
    world.artifact("chart/a", c20=behind(), c28=in_sync())
    before = await world.get("/v1/artifacts/chart%2Fa")
    hold = await made(world, artifacts=["chart/*"], component="c20")
    pause = await made(world, component="c20")
    answer = await world.get("/v1/artifacts/chart%2Fa", headers={"If-None-Match": before.headers["ETag"]})
    view = await answer.json()
    assert view["holds"] == [hold, pause]
    assert view["sync"]["c20"]["held"] == hold
    assert view["sync"]["c28"]["held"] is None
    component = await (await world.get("/v1/components/c20")).json()
    assert (component["holds"], component["holds_of_artifacts"]) == ([pause], 1)
    (pair,) = (await (await world.get("/v1/sync")).json())["items"]
    assert pair["held"] == hold
    assert (await (await world.get("/v1/status")).json())["holds"] == [hold, pause]


async def test_metrics(world: World) -> None:
    """How many holds there are, by verb, and how old that knowledge is."""
    await made(world, everything=True)
    await made(world, artifacts=["chart/a"])
    text = await (await world.get("/metrics")).text()
    counts = {verb: f'syncmaster_holds{{verb="{verb}"}}' for verb in ("hold", "pause", "halt")}
    assert f"{counts['hold']} 1.0" in text
    assert f"{counts['pause']} 0.0" in text
    assert f"{counts['halt']} 1.0" in text
    assert "syncmaster_control_age_seconds" in text


async def test_a_hold_that_cannot_be_read_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the proof that everybody can read it, a hold is not promised."""

    async def not_yet(offset: int, timeout_s: float) -> bool:
        return False

    monkeypatch.setattr(world.control, "wait_applied", not_yet)
    response = await world.post("/v1/holds", json={"everything": True, "reason": "test"})
    assert (response.status, (await response.json())["code"]) == (503, "hold.unconfirmed")


async def test_a_gateway_that_does_not_know_yet(world: World) -> None:
    """A list that is not complete is not shown, and nothing is said not to be there."""
    world.control.ready = False
    assert (await world.get("/v1/holds")).status == 503
    assert (await world.post("/v1/holds/h/release", json={"reason": "test"})).status == 503


async def command(world: World, *arguments: str) -> Result:
    """A command of the CLI against this gateway, as the operator."""
    environment = {"SYNCMASTER_URL": str(world.client.make_url("/")), "SYNCMASTER_API_KEY": world.key_of("operator")}
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environment)


async def test_the_commands(world: World) -> None:
    """hold, pause and halt make what they say, holds shows it to people and to tools, release lets it go."""
    for arguments in (
        ("hold", "chart/a", "image/*"),
        ("pause", "c20"),
        ("halt", "chart/b", "--component", "c28"),
        ("halt", "--everything"),
    ):
        result = await command(world, *arguments, "--reason", "because")
        assert result.exit_code == 0, result.output
    found = json.loads((await command(world, "holds", "--format", "json")).stdout)
    assert [(hold["verb"], hold["artifacts"], hold["component"]) for hold in found] == [
        ("hold", ["chart/a", "image/*"], ""),
        ("pause", [], "c20"),
        ("halt", ["chart/b"], "c28"),
        ("halt", [], ""),
    ]
    for hold in found[1:]:
        assert (await command(world, "release", hold["id"], "--reason", "mended")).exit_code == 0
    text = (await command(world, "holds")).stdout
    assert "chart/a" in text
    assert "operator" in text
    assert "c28" not in text
    assert (await command(world, "release", found[1]["id"], "--reason", "mended")).exit_code == 1
