"""/v1/alerts: the last ones, newest first."""

from __future__ import annotations

from typing import Any

from streams.alerts import Alert, alert_record
from tests.events import FakeRecord
from tests.gateways import NOW_MS, World


def told(world: World, *alerts: Alert) -> None:
    records = [FakeRecord(10 * number, b"", alert_record(alert)[1] or b"", ()) for number, alert in enumerate(alerts)]
    world.alerts.take(records)


def alert(number: int, **fields: Any) -> Alert:
    given = {"rule": "freeze", "severity": "warning", "artifact": f"chart/{number}"} | fields
    return Alert(id=f"a{number}", summary="told", next_step="look", at_ms=NOW_MS + number, **given)


async def ids(world: World, query: str = "", *, by: str = "operator") -> list[str]:
    response = await world.get(f"/v1/alerts{query}", by=by)
    return [item["id"] for item in (await response.json())["items"]]


async def test_newest_first(world: World) -> None:
    """With rule, artifact, summary and next step."""
    told(world, alert(0), alert(1, component="c20", principal="c24", labels={"kind": "freeze"}))
    items = (await (await world.get("/v1/alerts")).json())["items"]
    assert [item["id"] for item in items] == ["a1", "a0"]
    assert items[0] == {
        "id": "a1",
        "at": "2026-11-18T11:06:40.001Z",
        "rule": "freeze",
        "severity": "warning",
        "artifact": "chart/1",
        "component": "c20",
        "principal": "c24",
        "summary": "told",
        "next_step": "look",
        "labels": {"kind": "freeze"},
    }


async def test_pages(world: World) -> None:
    """Pages hold each once, also when new ones come in between."""
    told(world, *(alert(number) for number in range(5)))
    pages = await world.pages("/v1/alerts?limit=2")
    assert [[item["id"] for item in page] for page in pages] == [["a4", "a3"], ["a2", "a1"], ["a0"]]


async def test_filters(world: World) -> None:
    """By rule, artifact, component and severity."""
    told(world, alert(0), alert(1, rule="size"), alert(2, component="c20"), alert(3, severity="critical"))
    queries = ("?rule=size", "?artifact=chart%2F0", "?component=c20", "?severity=critical", "?rule=size&severity=critical")
    assert [await ids(world, query) for query in queries] == [["a1"], ["a0"], ["a2"], ["a3"], []]


async def test_those_about_what_may_be_read(world: World) -> None:
    """Others' artifacts are not told, nor what is about no artifact, to those who may not read everything."""
    told(world, alert(0, artifact="chart/mine"), alert(1, artifact="chart/theirs"), alert(2, artifact="", principal="c4"))
    world.rule("c24", {"verbs": ["read"], "artifacts": ["chart/mine"]})
    assert (await ids(world, by="c24"), await ids(world)) == (["a0"], ["a2", "a1", "a0"])


async def test_while_the_topic_is_being_read(world: World) -> None:
    """A list that is not complete does not look as if it were."""
    world.alerts.ready = False
    response = await world.get("/v1/alerts")
    assert (response.status, (await response.json())["code"]) == (503, "alerts.restoring")


async def test_a_cursor_of_another_list(world: World) -> None:
    """Is refused."""
    assert (await world.get("/v1/alerts?cursor=YWJj")).status == 400


async def test_what_is_kept_is_bounded(world: World) -> None:
    """The last thousand; a record that is no alert is passed over."""
    told(world, *(alert(number) for number in range(1200)))
    world.alerts.take([FakeRecord(99_999, b"", b"no alert", ())])
    assert len([offset for offset, _ in world.alerts.newest_first()]) == 1000
