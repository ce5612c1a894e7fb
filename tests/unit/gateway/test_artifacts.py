"""/v1/artifacts: one, lists, versions."""

from __future__ import annotations

import pytest

from tests.gateways import World, behind, failed, in_sync, segment


async def test_one_artifact(world: World) -> None:
    """An artifact is told with its state, its origin and each component's part."""
    world.artifact("chart/argo-cd", generation=3, c20=in_sync(), c28=failed(attempts=4))
    response = await world.get("/v1/artifacts/chart%2Fargo-cd")
    view = await response.json()
    assert (response.status, view["key"], view["kind"], view["name"], view["generation"]) == (
        200,
        "chart/argo-cd",
        "chart",
        "argo-cd",
        3,
    )
    assert view["sync"]["c20"]["state"] == "in_sync"
    assert (view["sync"]["c28"]["state"], view["sync"]["c28"]["attempts"], view["sync"]["c28"]["last_error"]) == (
        "failed",
        4,
        "404 gone for good",
    )
    assert view["provenance"]["token"] == f"SM_IN_c24:{world.partition('chart/argo-cd')}:1.7.0"


@pytest.mark.parametrize(
    "key",
    [
        "image/ghcr.io/argoproj/argocd",
        "chart/ünïcode-名前",
        "chart/per%cent",
        "chart/literal%2Fslash",
        "chart/a b+c",
        "environment/../etc",
        "chart/q?x=1#y",
        "chart/e\u0301 composed",
    ],
)
async def test_key_is_one_segment(world: World, key: str) -> None:
    """Any key, percent-encoded as one segment, is found as it is."""
    world.artifact(key)
    response = await world.get(f"/v1/artifacts/{segment(key)}")
    assert (response.status, (await response.json()).get("key")) == (200, key)


async def test_slash_in_key_is_not_a_path(world: World) -> None:
    """An unencoded slash makes another path, not another spelling of the key."""
    world.artifact("chart/argo-cd")
    assert (await (await world.get("/v1/artifacts/chart/argo-cd")).json())["code"] == "path.unknown"


async def test_unknown_is_404_only_when_ready(world: World) -> None:
    """A key that is not there is 404 from a restored replica, and 503 with Retry-After before."""
    response = await world.get("/v1/artifacts/chart%2Fnone")
    assert (response.status, (await response.json())["code"]) == (404, "artifact.unknown")
    world.replica.ready = False
    response = await world.get("/v1/artifacts/chart%2Fnone")
    assert (response.status, (await response.json())["code"]) == (503, "replica.restoring")
    assert int(response.headers["Retry-After"]) >= 1


async def test_known_key_is_answered_while_restoring(world: World) -> None:
    """What is in the replica is told even before it is complete."""
    world.artifact("chart/a")
    world.replica.ready = False
    assert (await world.get("/v1/artifacts/chart%2Fa")).status == 200


@pytest.mark.parametrize("path", ["/v1/artifacts", "/v1/components", "/v1/sync", "/v1/quarantine"])
async def test_lists_wait_for_restore(world: World, path: str) -> None:
    """A list that is not complete is not shown as if it were."""
    world.replica.ready = False
    assert (await world.get(path)).status == 503


async def test_entity_tag(world: World) -> None:
    """If-None-Match gives 304 until anything in the answer changes, a delivery included."""
    world.artifact("chart/a", generation=5, c20=behind())
    first = await world.get("/v1/artifacts/chart%2Fa")
    tag = first.headers["ETag"]
    assert tag.startswith('"5-')
    again = await world.get("/v1/artifacts/chart%2Fa", headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status, again.headers["ETag"], await again.read()) == (304, tag, b"")
    world.artifact("chart/a", generation=5, c20=in_sync())
    assert (await world.get("/v1/artifacts/chart%2Fa", headers={"If-None-Match": tag})).status == 200


async def test_list_filters(world: World) -> None:
    """kind, prefix, component and state narrow a list, together."""
    world.artifact("chart/argo-cd", c20=in_sync(), c28=behind())
    world.artifact("chart/other", c20=behind())
    world.artifact("image/argo", c12=behind())

    async def keys(query: str) -> list[str]:
        return [item["key"] for page in await world.pages(f"/v1/artifacts?{query}") for item in page]

    assert await keys("") == ["chart/argo-cd", "chart/other", "image/argo"]
    assert await keys("kind=chart") == ["chart/argo-cd", "chart/other"]
    assert await keys("prefix=chart/a") == ["chart/argo-cd"]
    assert await keys("kind=image&prefix=chart/a") == []
    assert await keys("kind=chart&prefix=ch") == ["chart/argo-cd", "chart/other"]
    assert await keys("component=c20") == ["chart/argo-cd", "chart/other"]
    assert await keys("state=behind") == ["chart/argo-cd", "chart/other", "image/argo"]
    assert await keys("component=c20&state=behind") == ["chart/other"]


async def test_pages_join_to_the_whole(world: World) -> None:
    """Pages follow each other in key order over all partitions, without a gap or a repetition."""
    keys = sorted(f"chart/c-{number:03d}" for number in range(57))
    for key in keys:
        world.artifact(key)
    pages = await world.pages("/v1/artifacts?limit=10")
    assert [item["key"] for page in pages for item in page] == keys
    assert [len(page) for page in pages] == [10, 10, 10, 10, 10, 7]


async def test_pages_are_stable_under_writes(world: World) -> None:
    """What is written between two pages neither hides nor repeats what was there all along."""
    for number in range(0, 20, 2):
        world.artifact(f"chart/{number:02d}")
    first = await (await world.get("/v1/artifacts?limit=5")).json()
    world.artifact("chart/01")  # behind us: not shown
    world.artifact("chart/09")  # ahead of us: shown
    world.artifact("chart/00", generation=2)
    second = await (await world.get(f"/v1/artifacts?limit=50&cursor={first['next_cursor']}")).json()
    assert [item["key"] for item in second["items"]] == ["chart/09", *(f"chart/{number}" for number in range(10, 20, 2))]


async def test_filter_that_matches_little_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks at a bounded number of records; what lies behind them is reached by its cursor."""
    monkeypatch.setattr("tables.queries.EXAMINED_MAX", 4)
    for number in range(9):
        world.artifact(f"chart/{number}", c20=in_sync())
    world.artifact("chart/9", c20=failed())
    pages = await world.pages("/v1/artifacts?state=failed")
    assert [[item["key"] for item in page] for page in pages] == [[], [], ["chart/9"]]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "stat=behind", "state=odd", "kind=a&kind=b"])
async def test_query_that_is_not_valid(world: World, query: str) -> None:
    """A wrong or unknown parameter is refused, instead of listing something else."""
    response = await world.get(f"/v1/artifacts?{query}")
    assert (response.status, (await response.json())["code"]) == (400, "query.invalid")


@pytest.mark.parametrize("path", ["/v1/artifacts", "/v1/quarantine"])
async def test_cursor_that_is_not_ours(world: World, path: str) -> None:
    """A cursor that no page has given is refused."""
    response = await world.get(f"{path}?cursor=%00%00!")
    assert (response.status, (await response.json())["code"]) == (400, "cursor.malformed")


async def test_versions_in_accepted_order(world: World) -> None:
    """Versions are listed as accepted, oldest first; one accepted again is listed once, at its latest place."""
    world.artifact("chart/a", version="1.9.1")
    for generation, version in enumerate(["1.9.0", "1.10.0", "1.9.1"], start=1):
        world.version("chart/a", version, generation)
    world.version("chart/a", "1.9.0", 4)
    pages = await world.pages("/v1/artifacts/chart%2Fa/versions?limit=2")
    assert [[(item["version"], item["generation"]) for item in page] for page in pages] == [
        [("1.10.0", 2), ("1.9.1", 3)],
        [("1.9.0", 4)],
    ]
    assert pages[0][0]["principal"] == "c24"


async def test_versions_of_unknown_artifact(world: World) -> None:
    """Versions of an artifact that is not there are a 404, not an empty list."""
    assert (await world.get("/v1/artifacts/chart%2Fnone/versions")).status == 404
    assert (await world.get("/v1/artifacts/chart%2Fnone/versions?cursor=YWJj")).status == 404
