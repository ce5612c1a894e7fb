"""Every route of the gateway, asked by those who may not: a table made from the registry, so a new route is in it from its first day."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app import REGISTRIES
from gateway.registry import Operation
from streams.settings_access import VERBS, Verb
from tests.events import chart_event
from tests.gateways import World, behind, segment

MINE, OTHERS = "chart/mine/a", "chart/theirs/a"
OPERATIONS = [operation for registry in REGISTRIES for operation in registry.operations if operation.verbs]
#: Bodies that would do something, had their sender the right to: see `test_the_bodies_are_good`.
BODIES: dict[str, dict[str, Any]] = {
    "/v1/sync": {"artifact": OTHERS},
    "/v1/holds": {"artifacts": [OTHERS], "reason": "test"},
    "/v1/keys": {"principal": "c24"},
    "/v1/quarantine/release": {"artifacts": OTHERS, "reason": "test"},
    "/v1/quarantine/discard": {"artifacts": OTHERS, "reason": "test"},
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path) as made:
        for artifact in (MINE, OTHERS):
            made.artifact(artifact, c20=behind())
            made.quarantined(artifact, "q1")
        yield made


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def path_of(operation: Operation) -> str:
    """About the artifact or component that is not the caller's; other segments stand for themselves."""
    segments = {operation.artifact: segment(OTHERS), operation.component: "c20"}
    return re.sub(r"\{(\w+)\}", lambda found: segments.get(found[1], found[1]), operation.path)


async def ask(world: World, operation: Operation, *, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """As c24, with a body that would do something."""
    content: dict[str, Any] = {}
    if operation.path == "/v1/events":
        content = {"data": json.dumps(chart_event("a", "1.0.0")), "headers": {"Content-Type": "application/cloudevents+json"}}
    elif operation.method == "POST":
        content = {"json": BODIES.get(operation.path, {"reason": "test"})}
    content["headers"] = content.get("headers", {}) | (headers or {})
    response = await world.request(operation.method, path_of(operation), by=None if headers else "c24", **content)
    return response.status, await response.json() if "json" in response.content_type else {"items": await response.text()}


def nothing_happened(world: World) -> bool:
    """Nothing was published, decided or ordered. That somebody was refused may be recorded."""
    return not world.publisher.published and all(command.verb == "record" for _, command in world.log.commands)


@pytest.mark.parametrize("verb", VERBS)
async def test_every_other_verb_is_not_enough(world: World, verb: Verb) -> None:
    """Who has one verb, on everything, gets a 403 from every route that asks for others, and nothing happens."""
    world.rule("c24", {"verbs": [verb]})
    lacking = [operation for operation in OPERATIONS if verb not in operation.verbs]
    answers = {name_of(operation): await ask(world, operation) for operation in lacking}
    found = {name: (status, answer["code"], answer["verbs"]) for name, (status, answer) in answers.items()}
    assert found == {name_of(operation): (403, "auth.denied", list(operation.verbs)) for operation in lacking}
    assert nothing_happened(world)


@pytest.mark.parametrize("verb", VERBS)
async def test_a_key_of_another_scope_is_not_enough(world: World, verb: Verb) -> None:
    """Its holder has every verb on everything, the key has one: a 403 from every route that asks for others, and nothing happens."""
    world.rule("c24", {"verbs": list(VERBS)})
    made = await (await world.post("/v1/keys", json={"principal": "c24", "scopes": [verb]})).json()
    world.log.commands.clear()
    lacking = [operation for operation in OPERATIONS if verb not in operation.verbs]
    headers = {"Authorization": f"Bearer {made['key']}"}
    answers = {name_of(operation): await ask(world, operation, headers=headers) for operation in lacking}
    found = {name: (status, answer["code"], answer["verbs"]) for name, (status, answer) in answers.items()}
    assert found == {name_of(operation): (403, "auth.scope", list(operation.verbs)) for operation in lacking}
    assert nothing_happened(world)


async def test_the_verb_on_something_else_is_not_enough(world: World) -> None:
    """Whose rules are about their own artifacts reads and changes nothing of others: a 403, a 404, or a list without them."""
    world.rule("c24", {"verbs": list(VERBS), "artifacts": ["chart/mine/*"]})
    asked = [
        operation for operation in OPERATIONS if operation.path != "/v1/events"
    ]  # what is in an event is judged by the worker
    for operation in asked:
        status, answer = await ask(world, operation)
        assert OTHERS not in str(answer.get("items", "")) if status == 200 else status in (403, 404), (operation.path, answer)
    assert nothing_happened(world)


async def test_lists_hold_what_may_be_read(world: World) -> None:
    """Of the lists of artifacts, what is out of step and what is quarantined, everybody sees their own part."""
    world.rule("c24", {"verbs": ["read"], "artifacts": ["chart/mine/*"]})
    for path, field in (("/v1/artifacts", "key"), ("/v1/sync", "artifact"), ("/v1/quarantine", "artifact")):
        of_c24, of_operator = [await (await world.get(path, by=by)).json() for by in ("c24", "operator")]
        assert [item[field] for item in of_c24["items"]] == [MINE]
        assert [item[field] for item in of_operator["items"]] == [MINE, OTHERS]


async def test_a_component_of_another_environment(world: World) -> None:
    """Who may read components by name sees those, in lists as by themselves."""
    world.rule("c24", {"verbs": ["read"], "components": ["c2*"]})
    items = (await (await world.get("/v1/components", by="c24")).json())["items"]
    assert [item["name"] for item in items] == ["c20", "c28"]
    assert [(await world.get(f"/v1/components/{name}", by="c24")).status for name in ("c20", "c8")] == [200, 403]


async def test_one_artifact_too_many(world: World) -> None:
    """A sync of all of a component's artifacts is refused as a whole when one of them is not the caller's."""
    world.rule("c24", {"verbs": ["sync"], "artifacts": ["chart/mine/*"]})
    wanted = [{"component": "c20"}, {"selector": {"artifacts": "chart/*"}}]
    answers = [await world.post("/v1/sync", by="c24", json=body) for body in wanted]
    assert [(answer.status, (await answer.json())["resource"]["artifact"]) for answer in answers] == [(403, OTHERS)] * 2
    assert nothing_happened(world)
    assert (await world.post("/v1/sync", by="c24", json={"selector": {"artifacts": "chart/mine/*"}})).status == 202


@pytest.mark.parametrize(
    "hold",
    [
        {"everything": True},
        {"component": "c20"},
        {"artifacts": ["*"]},
        {"artifacts": ["chart/mine/*", "chart/*"]},
        {"artifacts": ["chart/mine*"]},
        {"artifacts": ["*/mine/*"]},
        {"artifacts": ["chart/mine/a", OTHERS]},
        {"artifacts": ["environment/dev*"]},
        {"artifacts": ["environment/*"]},
        {"artifacts": ["environment/dev/a", "environment/prod"]},
    ],
    ids=str,
)
async def test_a_hold_that_reaches_too_far(world: World, hold: dict[str, Any]) -> None:
    """A pattern, a component or everything is held only by those whose rules reach as far."""
    verbs = ["hold", "pause", "halt"]
    world.rule("c24", {"verbs": verbs, "artifacts": ["chart/mine/*"]}, {"verbs": verbs, "environments": ["dev"]})
    response = await world.post("/v1/holds", by="c24", json={**hold, "reason": "test"})
    assert response.status == 403, await response.text()
    assert nothing_happened(world)


@pytest.mark.parametrize("artifact", ["chart/mine/*", "chart/mine/a*", "environment/dev", "environment/dev/*"])
async def test_a_hold_that_reaches_as_far_as_the_rule(world: World, artifact: str) -> None:
    """One's own may be held, by pattern and by environment."""
    world.rule("c24", {"verbs": ["hold"], "artifacts": ["chart/mine/*"]}, {"verbs": ["hold"], "environments": ["dev"]})
    response = await world.post("/v1/holds", by="c24", json={"artifacts": [artifact], "reason": "test"})
    assert response.status == 202, await response.text()


@pytest.mark.parametrize("path", [*BODIES, "/v1/events"])
async def test_the_bodies_are_good(world: World, path: str) -> None:
    """What these tests send does something when it is sent by somebody who may."""
    world.rule("c24", {"verbs": list(VERBS)})
    (operation,) = (operation for operation in OPERATIONS if (operation.method, operation.path) == ("POST", path))
    status, answer = await ask(world, operation)
    assert status in (201, 202), answer
    assert not nothing_happened(world) or path == "/v1/keys"  # which is recorded
