"""/v1/quarantine: list, show, release, discard, and the same by filter."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tables.model import MARKER_KEY, Marker, ParkedCounts
from tests.gateways import NOW_MS, World, segment


def path(artifact: str, ident: str, verb: str = "") -> str:
    return f"/v1/quarantine/{segment(artifact)}/{ident}" + (f"/{verb}" if verb else "")


async def test_quarantine(world: World) -> None:
    """Set-aside messages are listed without their bytes; one of them has the original ones."""
    world.quarantined("unknown/c4", "001", principal="c4", body_base64="bm90IGpzb24=")
    world.quarantined("chart/a", "001")
    world.quarantined("chart/a", "002")
    (items,) = await world.pages("/v1/quarantine")
    assert [(item["artifact"], item["id"]) for item in items] == [("chart/a", "001"), ("chart/a", "002"), ("unknown/c4", "001")]
    assert all("body_base64" not in item for item in items)
    (mine,) = await world.pages("/v1/quarantine?principal=c4")
    assert [item["artifact"] for item in mine] == ["unknown/c4"]
    one = await (await world.get("/v1/quarantine/unknown%2Fc4/001")).json()
    assert (one["body_base64"], one["reason"], one["headers"]) == ("bm90IGpzb24=", "json.invalid", {"content-type": "x"})


async def test_quarantine_pages(world: World) -> None:
    """Pages of quarantine follow each other over all partitions."""
    for number in range(7):
        world.quarantined(f"chart/{number % 3}", f"{number:03d}")
    pages = await world.pages("/v1/quarantine?limit=3")
    assert [len(page) for page in pages] == [3, 3, 1]
    places = [(item["artifact"], item["id"]) for page in pages for item in page]
    assert places == sorted(set(places))


async def test_what_is_parked_is_told_from_what_is_malformed(world: World) -> None:
    """Kept as, rule, size, and where it stands among those that wait; the malformed one of the same artifact has no place there."""
    world.quarantined("chart/a", "events-00000-00000000000000000001")
    _, second, third = world.parked("chart/a", 3)
    (items,) = await world.pages("/v1/quarantine?prefix=chart/a")
    assert [(item["kept"], item["rule"], item["size_bytes"]) for item in items] == [
        ("malformed", "decode", 2),
        ("parked", "no-bad", 2),
        ("queued", "no-bad", 2),
        ("queued", "no-bad", 2),
    ]
    shown = await (await world.get(path("chart/a", third))).json()
    assert (shown["position"], shown["waiting"]) == (2, 3)
    malformed = await (await world.get(path("chart/a", items[0]["id"]))).json()
    assert (malformed["position"], malformed["waiting"]) == (None, 3)
    assert second == items[2]["id"]


async def test_a_message_is_shown_as_text_where_it_is_text(world: World) -> None:
    """JSON can be read, binary cannot; the event's names are told as far as they can be."""
    text = '{"id": "e1", "source": "urn:x", "type": "t"}'
    world.quarantined("chart/a", "1", body_base64=base64.b64encode(text.encode()).decode())
    world.quarantined("chart/a", "2", body_base64="AAE=")
    shown = await (await world.get(path("chart/a", "1"))).json()
    assert (shown["body_text"], shown["source"], shown["event_id"], shown["type"]) == (text, "urn:x", "e1", "t")
    assert (await (await world.get(path("chart/a", "2"))).json())["body_text"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("rule=no-bad", ["chart/b"]),
        ("rule=decode", ["chart/a", "image/a"]),
        ("reason=json.invalid&artifacts=chart/*", ["chart/a"]),
        ("artifacts=*/a", ["chart/a", "image/a"]),
        ("kept=parked", ["chart/b"]),
        ("since=2026-11-18T11:06:40Z", ["chart/a", "chart/b"]),
        ("until=2026-11-18T11:06:39Z", ["image/a"]),
        ("principal=c4", []),
    ],
)
async def test_filters(world: World, query: str, expected: list[str]) -> None:
    """Rule, reason, kept as, pattern of the artifact, principal and time narrow the list."""
    world.quarantined("chart/a", "1")
    world.parked("chart/b", 1)
    world.quarantined("image/a", "1", at_ms=NOW_MS - 2000)
    assert [item["artifact"] for page in await world.pages(f"/v1/quarantine?{query}") for item in page] == expected


@pytest.mark.parametrize("verb", ["release", "discard"])
async def test_one_entry_is_ordered_with_a_reason(world: World, verb: str) -> None:
    """One command under the artifact's key, in the caller's name, with the rule that allows it; the answer tells how to follow it."""
    (ident,) = world.parked("chart/a", 1)
    response = await world.post(path("chart/a", ident, verb), json={"reason": "looked at it"})
    told = await response.json()
    ((key, command),) = world.log.commands
    assert (response.status, response.headers["Location"]) == (202, f"/v1/quarantine/operations/{told['id']}")
    assert (key, command.verb, command.subject) == ("chart/a", f"quarantine.{verb}", ident)
    assert (command.principal, command.reason, command.remote) == ("operator", "looked at it", "127.0.0.1")
    assert command.rule.startswith("binding operators")
    assert told["tokens"] == [f"commands:{world.partition('chart/a')}:0"]


async def test_progress_of_a_release(world: World) -> None:
    """Pending until the partition has taken the command, running while queues are judged there, then done."""
    (ident,) = world.parked("chart/a", 1)
    told = await (await world.post(path("chart/a", ident, "release"), json={"reason": "x"})).json()
    partition = world.partition("chart/a")

    async def progress() -> tuple[str, list[int]]:
        view = await (await world.get(f"/v1/quarantine/operations/{told['id']}")).json()
        return view["state"], view["partitions_waiting"]

    assert await progress() == ("pending", [partition])
    for parked, expected in ((ParkedCounts(1, 1, NOW_MS), "running"), (ParkedCounts(), "done")):
        batch = world.stores[partition].batch()
        batch.apply("artifacts", MARKER_KEY, msgspec.json.encode(Marker(commands=1, parked=parked)))
        world.stores[partition].write(batch)
        assert await progress() == (expected, [])
    assert (await world.get(f"/v1/sync/operations/{told['id']}")).status == 404


@pytest.mark.parametrize(
    ("verb", "index", "body", "status", "code"),
    [
        ("release", 1, {"reason": "x"}, 422, "quarantine.queued"),
        ("release", 9, {"reason": "x"}, 404, "quarantine.unknown"),
        ("discard", 9, {"reason": "x"}, 404, "quarantine.unknown"),
        ("release", 0, {"reason": "  "}, 422, "body.invalid"),
        ("discard", 0, {}, 422, "body.invalid"),
    ],
)
async def test_what_is_not_ordered(world: World, verb: str, index: int, body: Any, status: int, code: str) -> None:
    """What waits behind another, what is not there, and what has no reason."""
    world.parked("chart/a", 2)
    response = await world.post(path("chart/a", f"parked-{index:020d}", verb), json=body)
    assert (response.status, (await response.json())["code"], world.log.commands) == (status, code, [])


async def test_a_queued_entry_can_be_discarded(world: World) -> None:
    """Only its release would break the order."""
    _, second = world.parked("chart/a", 2)
    assert (await world.post(path("chart/a", second, "discard"), json={"reason": "x"})).status == 202


@pytest.mark.parametrize(
    ("verb", "body", "expected"),
    [
        ("release", {"artifacts": "*"}, ["chart/a 0", "chart/b 0", "image/a 1"]),
        ("release", {"rule": "no-bad"}, ["chart/a 0"]),
        ("release", {"code": "json.invalid"}, ["image/a 1"]),
        ("release", {"artifacts": "chart/*", "rule": "no-evil"}, ["chart/b 0"]),
        ("discard", {"artifacts": "chart/a"}, ["chart/a 0", "chart/a 1", "chart/a 2"]),
        ("discard", {"artifacts": "chart/a", "kept": "queued"}, ["chart/a 1", "chart/a 2"]),
        ("discard", {"principal": "nobody"}, []),
    ],
)
async def test_by_filter(world: World, verb: str, body: dict[str, str], expected: list[str]) -> None:
    """A command per entry; a release takes the fronts only, which bring what waits behind them."""
    world.parked("chart/a", 3)
    world.parked("chart/b", 2, rule="no-evil")
    world.quarantined("image/a", "1")
    response = await world.post(f"/v1/quarantine/{verb}", json=body | {"reason": "x"})
    told = await response.json()
    ordered = [f"{key} {int(command.subject.rpartition('-')[2])}" for key, command in world.log.commands]
    assert (response.status, ordered, told["entries"]) == (202, expected, len(expected))
    assert (told["verb"], told["state"]) == (verb, "pending" if expected else "done")


async def test_a_filter_that_says_nothing_is_refused(world: World) -> None:
    """All of it has to be said: a forgotten filter must not empty the quarantine."""
    world.quarantined("chart/a", "1")
    response = await world.post("/v1/quarantine/discard", json={"reason": "x"})
    assert (response.status, world.log.commands) == (422, [])


async def test_too_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What selects more than one operation may hold is refused before anything is ordered."""
    monkeypatch.setattr("gateway.operations.quarantine.COMMANDS_MAX", 2)
    for number in range(3):
        world.quarantined(f"chart/{number}", "1")
    response = await world.post("/v1/quarantine/discard", json={"artifacts": "*", "reason": "x"})
    assert (response.status, (await response.json())["code"], world.log.commands) == (422, "quarantine.too_many", [])


async def test_entries_of_somebody_else(tmp_path: Path) -> None:
    """The verb holds for artifacts: others' entries are neither ordered one by one nor by a filter that reaches them."""
    roles = {"charts": {"rules": [{"verbs": ["quarantine"], "artifacts": ["chart/*"]}]}}
    bindings = [{"name": "charts", "role": "charts", "principals": ["c12"]}]
    from tests.brokers import BINDINGS, ROLES

    async with World(tmp_path, roles=ROLES | roles, bindings=BINDINGS + bindings) as world:
        (mine,), (other,) = world.parked("chart/a", 1), world.parked("image/a", 1)
        refused = await world.post(path("image/a", other, "release"), by="c12", json={"reason": "x"})
        reaching = await world.post("/v1/quarantine/release", by="c12", json={"artifacts": "*", "reason": "x"})
        assert (refused.status, reaching.status, world.log.commands) == (403, 403, [])
        assert (await world.post(path("chart/a", mine, "release"), by="c12", json={"reason": "x"})).status == 202
        assert (await world.post("/v1/quarantine/discard", by="c12", json={"artifacts": "chart/*", "reason": "x"})).status == 202


async def test_an_artifact_tells_how_many_are_parked(world: World) -> None:
    """Of one that was accepted before; one that never was is a 404 that says where its events are."""
    world.artifact("chart/a")
    world.parked("chart/a", 3)
    world.parked("chart/b", 1)
    assert (await (await world.get(f"/v1/artifacts/{segment('chart/a')}")).json())["parked"] == 3
    response = await world.get(f"/v1/artifacts/{segment('chart/b')}")
    assert (response.status, "quarantine" in (await response.json())["detail"]) == (404, True)


async def test_the_status_and_the_metrics_tell_what_waits(world: World) -> None:
    """Counts from the markers of all partitions: entries by reason and rule, parked artifacts, and the oldest."""
    world.parked("chart/a", 2)
    told = [Marker(quarantined={"source.denied no-bad": 1, "artifact.parked no-bad": 1}, parked=ParkedCounts(1, 0, NOW_MS))]
    told.append(Marker(quarantined={"source.denied no-bad": 1}, parked=ParkedCounts(1, 0, NOW_MS - 5000)))
    for partition, marker in enumerate(told):
        batch = world.stores[partition].batch()
        batch.apply("artifacts", MARKER_KEY, msgspec.json.encode(marker))
        world.stores[partition].write(batch)
    status = (await (await world.get("/v1/status")).json())["quarantine"]
    assert (status["entries"], status["parked_artifacts"]) == (3, 2)
    assert status["by_reason"] == {"artifact.parked": 1, "source.denied": 2}
    assert (status["since"], [entry["kept"] for entry in status["shown"]]) == ("2026-11-18T11:06:35.000Z", ["parked"])
    lines = (await (await world.get("/metrics", by=None)).text()).splitlines()
    assert 'syncmaster_quarantine_entries{reason="source.denied",rule="no-bad"} 2.0' in lines
    assert "syncmaster_parked_artifacts 2.0" in lines
