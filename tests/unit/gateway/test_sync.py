"""/v1/sync and /v1/components."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateways import NOW_MS, World, behind, failed, in_sync


async def test_out_of_step_pairs(world: World) -> None:
    """Each pair that is not in sync is listed with the reason; those in sync are not."""
    world.artifact("chart/a", c20=in_sync(), c28=failed(attempts=3))
    world.artifact("chart/b", c20=behind(next_retry_ms=NOW_MS + 1000))
    ((first, second),) = await world.pages("/v1/sync")
    assert (first["artifact"], first["component"], first["state"], first["last_error"]) == (
        "chart/a",
        "c28",
        "failed",
        "404 gone for good",
    )
    assert (second["artifact"], second["component"], second["desired"], second["delivered"]) == ("chart/b", "c20", 2, 1)
    assert second["next_retry"] == "2026-11-18T08:26:41.000Z" or second["next_retry"].endswith("Z")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=behind", ["chart/b c20"]),
        ("state=failed", ["chart/a c20", "chart/a c28"]),
        ("component=c28", ["chart/a c28"]),
        ("state=behind&component=c28", []),
    ],
)
async def test_out_of_step_filters(world: World, query: str, expected: list[str]) -> None:
    """state and component narrow the list."""
    world.artifact("chart/a", c20=failed(), c28=failed())
    world.artifact("chart/b", c20=behind())
    assert [f"{i['artifact']} {i['component']}" for page in await world.pages(f"/v1/sync?{query}") for i in page] == expected


async def test_out_of_step_pages(world: World) -> None:
    """Pages may end between two pairs of one artifact, without a gap or a repetition."""
    for number in range(5):
        world.artifact(f"chart/{number}", c12=behind(), c20=behind(), c28=behind())
    pages = await world.pages("/v1/sync?limit=4")
    places = [(i["artifact"], i["component"]) for page in pages for i in page]
    assert [len(page) for page in pages] == [4, 4, 4, 3]
    assert places == sorted(set(places))


async def test_component(world: World) -> None:
    """A component tells its counts and what has been out of step longest; the target without secrets."""
    world.artifact("chart/a", c20=in_sync(superseded=2))
    world.artifact("chart/b", c20=behind(NOW_MS - 5000))
    world.artifact("chart/c", c20=failed(NOW_MS - 9000))
    view = await (await world.get("/v1/components/c20")).json()
    assert (view["in_sync"], view["behind"], view["failed"], view["in_step"]) == (1, 1, 1, False)
    assert (view["oldest"], view["delivered"], view["superseded"]) == ("chart/c", 1, 2)
    assert view["routes"] == ["charts-to-store"]
    names = [item["name"] for item in (await (await world.get("/v1/components")).json())["items"]]
    assert names == ["c8", "c12", "c20", "c28"]


async def test_target_hides_credentials(world: World) -> None:
    """User, password and query of a sink's URL are not shown."""
    c20 = world.settings.components["c20"]
    sink = c20.sink.model_copy(update={"url": "https://user:pass@store.example:8443/events?token=t"})
    world.settings.components["c20"] = c20.model_copy(update={"sink": sink})
    assert (await (await world.get("/v1/components/c20")).json())["target"] == "https://store.example:8443/events"


async def trigger(world: World, **body: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    response = await world.post("/v1/sync", json=body)
    view = await response.json()
    assert response.status == 202, view
    assert response.headers["Location"] == f"/v1/sync/operations/{view['id']}"
    return view, [(key, command.component) for key, command in world.log.commands]


async def test_sync_one_artifact(world: World) -> None:
    """An artifact is synced for every component that it is routed to, in the caller's name."""
    world.artifact("chart/a", c20=in_sync())
    view, commands = await trigger(world, artifact="chart/a", reason="because")
    assert commands == [("chart/a", "")]
    command = world.log.commands[0][1]
    assert (command.id, command.verb, command.principal, command.reason) == (view["id"], "sync", "operator", "because")
    assert view["tokens"] == [f"commands:{world.partition('chart/a')}:0"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"component": "c20"}, [("chart/a", "c20"), ("chart/b", "c20")]),
        ({"selector": {}}, [("chart/a", ""), ("chart/b", ""), ("image/a", "")]),
        ({"selector": {"artifacts": "chart/*"}}, [("chart/a", ""), ("chart/b", "")]),
        ({"selector": {"artifacts": "*/a"}}, [("chart/a", ""), ("image/a", "")]),
        ({"selector": {"artifacts": "chart/b"}}, [("chart/b", "")]),
        ({"selector": {"component": "c28"}}, [("chart/a", "c28")]),
        ({"selector": {"state": "failed"}}, [("chart/a", "c28"), ("image/a", "c12")]),
        ({"selector": {"state": "failed", "component": "c12"}}, [("image/a", "c12")]),
        ({"selector": {"artifacts": "none/*"}}, []),
    ],
    ids=str,
)
async def test_what_a_selector_matches(world: World, body: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """One command per artifact, for the component asked for; with a state one per pair in that state."""
    world.artifact("chart/a", c20=in_sync(), c28=failed())
    world.artifact("chart/b", c20=behind())
    world.artifact("image/a", c12=failed())
    view, commands = await trigger(world, **body)
    assert (sorted(commands), view["commands"]) == (expected, len(expected))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"artifact": "chart/none"}, 404, "artifact.unknown"),
        ({"component": "none"}, 422, "component.unknown"),
        ({"selector": {"component": "none"}}, 422, "component.unknown"),
    ],
)
async def test_sync_of_what_is_not_there(world: World, body: dict[str, Any], status: int, code: str) -> None:
    """An unknown artifact or component is told, and nothing is ordered."""
    response = await world.post("/v1/sync", json=body)
    assert (response.status, (await response.json())["code"], world.log.commands) == (status, code, [])


async def test_too_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What selects more than one operation may hold is refused before anything is ordered."""
    monkeypatch.setattr("gateway.operations.sync.COMMANDS_MAX", 2)
    for number in range(3):
        world.artifact(f"chart/{number}")
    response = await world.post("/v1/sync", json={"selector": {}})
    assert (response.status, (await response.json())["code"], world.log.commands) == (422, "sync.too_many", [])


async def test_log_away(world: World) -> None:
    """Without the log's acknowledgement there is no 202."""
    world.artifact("chart/a")
    world.log.away = True
    response = await world.post("/v1/sync", json={"artifact": "chart/a"})
    assert (response.status, response.headers["Retry-After"]) == (503, "5")


async def test_progress_of_an_operation(world: World) -> None:
    """An operation is pending until every partition has taken its commands, then running, then done or failed."""
    world.artifact("chart/a", c20=in_sync(), c28=in_sync())
    view, _ = await trigger(world, artifact="chart/a")
    partition = world.partition("chart/a")

    async def progress() -> tuple[Any, ...]:
        told = await (await world.get(f"/v1/sync/operations/{view['id']}")).json()
        return told["state"], told["partitions_waiting"], told["in_sync"], told["behind"], told["failed"]

    assert await progress() == ("pending", [partition], 0, 0, 0)
    world.marker(partition, commands=1)
    world.artifact("chart/a", c20=behind(command=view["id"]), c28=failed(command=view["id"]))
    assert await progress() == ("running", [], 0, 1, 1)
    world.artifact("chart/a", c20=in_sync(command=view["id"]), c28=failed(command=view["id"]))
    assert await progress() == ("failed", [], 1, 0, 1)
    world.artifact("chart/a", c20=in_sync(command=view["id"]), c28=in_sync(command=view["id"]))
    assert await progress() == ("done", [], 2, 0, 0)


async def test_operation_before_control_is_read(world: World) -> None:
    """An operation that is not known yet is 503 while the replica restores, not 404."""
    world.control.ready = False
    world.replica.ready = False
    assert (await world.get("/v1/sync/operations/x")).status == 503
