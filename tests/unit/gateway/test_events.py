"""/v1/events: the HTTP door, and what became of an event."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.ce_headers import to_binary_headers
from streams.publisher import message_id
from tables.audit_record import Outcome
from tests.events import chart_event, encode
from tests.gateways import World, behind, in_sync, segment

STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def binary(event: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    attributes = {name: value for name, value in event.items() if name not in ("data", "datacontenttype")}
    return to_binary_headers(attributes) | {"Content-Type": "application/json"}, json.dumps(event["data"]).encode()


async def test_structured(world: World) -> None:
    """A structured event goes to its principal's stream as it came; the answer has its token and where to ask."""
    body = encode(chart_event("argo-cd", "1.0.0", ident="e/1", source="https://c24.example/x"))
    response = await world.post("/v1/events", by="c24", headers=STRUCTURED, data=body)
    assert response.status == 202, await response.text()
    (item,) = (await response.json())["items"]
    assert item["token"] == f"SM_IN_c24:{world.partition('chart/argo-cd')}:2.1.0"
    assert (item["artifact"], item["duplicate"]) == ("chart/argo-cd", False)
    assert response.headers["Location"] == item["location"] == "/v1/events/https%3A%2F%2Fc24.example%2Fx/e%2F1"
    ((principal, incoming),) = world.publisher.published
    assert (principal, incoming.body, incoming.headers) == ("c24", body, {"content-type": "application/cloudevents+json"})


async def test_binary(world: World) -> None:
    """A binary event keeps its body and its ce-* headers, and nothing else of the request."""
    headers, body = binary(chart_event("argo-cd", "1.0.0"))
    response = await world.post("/v1/events", by="c24", headers=headers | {"X-Other": "1"}, data=body)
    assert response.status == 202, await response.text()
    ((_, incoming),) = world.publisher.published
    assert incoming.body == body
    assert incoming.headers["ce-specversion"] == "1.0"
    assert all(name.startswith("ce-") or name == "content-type" for name in incoming.headers)


async def test_batch(world: World) -> None:
    """A batch is published event by event, each with its original bytes, its token and its place to ask."""
    events = [chart_event("a", "1.0.0"), chart_event("b", "1.0.0")]
    response = await world.post("/v1/events", by="c24", headers=BATCH, data=encode(events))  # type: ignore[arg-type]
    assert response.status == 202, await response.text()
    assert [item["artifact"] for item in (await response.json())["items"]] == ["chart/a", "chart/b"]
    assert "Location" not in response.headers
    assert [incoming.body for _, incoming in world.publisher.published] == [encode(event) for event in events]


async def test_repeated(world: World) -> None:
    """An event that was taken before is told as a duplicate, with the token of the first."""
    body = encode(chart_event("a", "1.0.0"))
    first = await (await world.post("/v1/events", by="c24", headers=STRUCTURED, data=body)).json()
    second = await (await world.post("/v1/events", by="c24", headers=STRUCTURED, data=body)).json()
    assert second["items"][0] == first["items"][0] | {"duplicate": True}


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (STRUCTURED, b"not json", 400, "json.invalid"),
        (STRUCTURED, b"", 400, "json.invalid"),
        (STRUCTURED, b'{"specversion": "1.0"}', 422, "id.missing"),
        (STRUCTURED, encode(chart_event("a", "1.0.0") | {"type": "com.example.unknown"}), 422, "type.unknown"),
        (STRUCTURED, encode(chart_event("a", "1.0.0") | {"time": "2999-01-01T00:00:00Z"}), 422, "time.ahead"),
        (STRUCTURED, encode(chart_event("a", "1.0.0") | {"filler": "x" * 300_000}), 413, "event.too_large"),
        (STRUCTURED, b"[" * 100_000, 422, None),
        (BATCH, b"[]", 422, "batch.empty"),
        (BATCH, b"x" * (5 << 20), 413, "body.too_large"),
        ({"Content-Type": "application/json"}, b"{}", 415, "body.media_type"),
        ({"Content-Type": "text/plain"}, b"hello", 415, "body.media_type"),
        ({"ce-specversion": "1.0", "Content-Type": "application/json"}, b"{}", 422, None),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_is_refused(world: World, headers: dict[str, str], body: bytes, status: int, code: str | None) -> None:
    """What is not an event is told why, with the codec's code, and is not published."""
    response = await world.post("/v1/events", by="c24", headers=headers, data=body)
    problem = await response.json()
    assert response.status in ((status, 400) if code is None else (status,)), problem
    assert code in (None, problem["code"])
    assert world.publisher.published == []


async def test_one_bad_event_refuses_the_batch(world: World) -> None:
    """A batch with one bad event is refused as a whole, and the problem tells which."""
    events = [chart_event("a", "1.0.0"), {"specversion": "1.0"}, chart_event("b", "1.0.0")]
    response = await world.post("/v1/events", by="c24", headers=BATCH, data=encode(events))  # type: ignore[arg-type]
    problem = await response.json()
    assert (response.status, [v["index"] for v in problem["violations"]]) == (422, [1])
    assert world.publisher.published == []


async def test_nats_away(world: World) -> None:
    """Nothing is 202 before NATS has acknowledged it: 503, with when to try again."""
    world.publisher.fails_after = 0
    response = await world.post("/v1/events", by="c24", headers=STRUCTURED, data=encode(chart_event("a", "1.0.0")))
    assert (response.status, (await response.json())["code"], response.headers["Retry-After"]) == (
        503,
        "publish.unavailable",
        "2",
    )


async def test_nats_away_in_the_middle(world: World) -> None:
    """A batch that was taken in part says so, and can be sent again as it is."""
    world.publisher.fails_after = 1
    body = encode([chart_event("a", "1.0.0"), chart_event("b", "1.0.0")])  # type: ignore[arg-type]
    response = await world.post("/v1/events", by="c24", headers=BATCH, data=body)
    assert (response.status, "1 of 2" in (await response.json())["detail"]) == (503, True)
    world.publisher.fails_after = None
    again = await (await world.post("/v1/events", by="c24", headers=BATCH, data=body)).json()
    assert [item["duplicate"] for item in again["items"]] == [True, False]


def test_message_id() -> None:
    """The dedup id is one of (source, id), not of their concatenation."""
    assert message_id("ab", "c") != message_id("a", "bc")
    assert message_id("s", "i") == message_id("s", "i")
    assert len(message_id("s", "i")) == 64


@pytest.mark.parametrize(("source", "ident"), [("urn:test", "e1"), ("https://c24.example/a?b=c#d", "1/2%3"), ("ünï", "名 前")])
async def test_what_became_of_it(world: World, source: str, ident: str) -> None:
    """Any source and id find the event: every outcome, oldest first, and how far each component is."""
    world.artifact("chart/a", c20=in_sync(), c28=behind())
    world.audit(Outcome.ACCEPTED, artifact="chart/a", source=source, event_id=ident, principal="c24", generation=2)
    world.audit(Outcome.DUPLICATE, artifact="chart/a", source=source, event_id=ident, principal="c24")
    response = await world.get(f"/v1/events/{segment(source)}/{segment(ident)}")
    view = await response.json()
    assert (response.status, view["source"], view["id"]) == (200, source, ident)
    assert [outcome["outcome"] for outcome in view["outcomes"]] == ["accepted", "duplicate"]
    assert {name: pair["state"] for name, pair in view["sync"].items()} == {"c20": "in_sync", "c28": "behind"}


async def test_refused_event_tells_why(world: World) -> None:
    """An event that was refused shows code, detail and rule, and no component."""
    world.artifact("chart/a", c20=in_sync())
    world.audit(Outcome.REFUSED, artifact="chart/a", code="publish.not_allowed", detail="c24 may not", rule="freeze")
    view = await (await world.get("/v1/events/urn%3Atest/e1")).json()
    assert (view["outcomes"][0]["code"], view["outcomes"][0]["rule"], view["sync"]) == ("publish.not_allowed", "freeze", {})


async def test_same_id_of_two_principals(world: World) -> None:
    """Two principals may use the same source and id; who only publishes sees its own."""
    world.audit(Outcome.ACCEPTED, artifact="chart/a", principal="c24")
    world.audit(Outcome.REFUSED, artifact="chart/a", principal="c4")
    world.rule("c4", {"verbs": ["publish"]})

    async def principals(by: str, query: str = "") -> list[str]:
        view = await (await world.get(f"/v1/events/urn%3Atest/e1{query}", by=by)).json()
        return [outcome["principal"] for outcome in view["outcomes"]]

    assert sorted(await principals("operator")) == ["c24", "c4"]
    assert await principals("operator", "?principal=c24") == ["c24"]
    assert await principals("c4") == ["c4"]
    assert (await world.get(f"/v1/events/{segment('urn:test')}/e1?principal=c24", by="c4")).status == 404


async def test_unknown_event_while_restoring(world: World) -> None:
    """An event that is not found is 404 only when the audit index is complete."""
    world.control.ready = False
    response = await world.get("/v1/events/urn%3Atest/e1")
    assert (response.status, (await response.json())["code"]) == (503, "audit.restoring")
