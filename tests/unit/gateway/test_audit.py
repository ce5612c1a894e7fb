"""GET /v1/audit: what it answers, to whom, page by page."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from gateway.audit_models import Decision
from tables.audit_record import Outcome
from tests.brokers import BINDINGS, ROLES
from tests.gateways import World


@pytest.fixture(autouse=True)
def _history(world: World) -> None:
    for number in range(5):
        world.audit(
            Outcome.ACCEPTED, artifact="chart/a", event_id=f"e{number}", principal="c24", before="b", after="a", trace="t"
        )
    world.audit(Outcome.REFUSED, artifact="image/b", event_id="e9", principal="c4", rule="no-root", code="policy.schema")


async def test_record_is_told_whole(world: World) -> None:
    """A record has everything that is known: decision, rule, digests before and after, trace, and its place in the chain."""
    response = await world.get("/v1/audit?principal=c24&limit=1")
    (item,) = (await response.json())["items"]
    assert (item["decision"], item["artifact"], item["event_id"], item["seq"]) == ("accepted", "chart/a", "e4", 4)
    assert (item["before"], item["after"], item["trace"], item["partition"]) == ("b", "a", "t", world.partition("chart/a"))


@pytest.mark.parametrize(
    ("question", "events"),
    [
        ("decision=refused", ["e9"]),
        ("rule=no-root", ["e9"]),
        ("artifact=image%2F*", ["e9"]),
        ("text=policy.schema", ["e9"]),
        ("text=%22%20OR%20%2A", []),
        ("since=2199-01-01T00:00:00Z", []),
        ("until=1999-01-01T00:00:00Z", []),
        ("since=1999-01-01T00:00:00Z&artifact=image%2Fb", ["e9"]),
    ],
)
async def test_questions(world: World, question: str, events: list[str]) -> None:
    """Each part of a question narrows the answer, and no text is an error."""
    response = await world.get(f"/v1/audit?{question}")
    assert response.status == 200, await response.text()
    assert [item["event_id"] for item in (await response.json())["items"]] == events


def test_decisions() -> None:
    """Every outcome that a record may have can be asked for."""
    assert set(get_args(Decision)) == {outcome.value for outcome in Outcome}


async def test_pages(world: World) -> None:
    """All records come, each once, newest first, page by page."""
    pages = await world.pages("/v1/audit?limit=2&artifact=chart%2Fa")
    assert [[item["seq"] for item in page] for page in pages] == [[4, 3], [2, 1], [0]]


@pytest.mark.parametrize("question", ["decision=perhaps", "since=yesterday", "since=2020-01-01T00:00:00", "cursor=AA", "cursor=%25", "who=me",
                                      "since=2021-01-01T00:00:00Z&until=2020-01-01T00:00:00Z"])  # fmt: skip
async def test_wrong_questions(world: World, question: str) -> None:
    """A question that makes no sense is a problem with a code, not an empty answer."""
    response = await world.get(f"/v1/audit?{question}")
    assert (response.status, response.content_type) == (400, "application/problem+json")


async def test_only_who_may(world: World) -> None:
    """Without the verb `audit` nothing is told; without a key nobody is known."""
    assert (await world.get("/v1/audit", by="c8")).status == 403
    assert (await world.get("/v1/audit", by=None)).status == 401
    assert (await world.post("/v1/audit/reindex", by="c8")).status == 403


async def test_index_that_is_being_filled(world: World) -> None:
    """While the index is filled there is no answer: one that is not complete must not look as if it were."""
    world.control.ready = False
    assert (await world.get("/v1/audit")).status == 503


async def test_some_artifacts_only(tmp_path: Path) -> None:
    """Whoever may audit some artifacts sees the records about them, and no other's, however many lie between."""
    roles = ROLES | {"image-auditor": {"rules": [{"verbs": ["audit"], "artifacts": ["image/*"]}]}}
    bindings = [*BINDINGS, {"name": "auditors", "role": "image-auditor", "principals": ["c28"]}]
    async with World(tmp_path / "other", roles=roles, bindings=bindings) as world:
        world.audit(Outcome.REFUSED, artifact="image/b", event_id="mine")
        for number in range(20):
            world.audit(Outcome.ACCEPTED, artifact="chart/a", event_id=f"e{number}")
        response = await world.get("/v1/audit?limit=5", by="c28")
        assert [item["event_id"] for item in (await response.json())["items"]] == ["mine"]
