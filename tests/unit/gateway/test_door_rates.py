"""Rate limits at the HTTP door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.door_rates import DoorRates
from gateway.problems import Problem
from streams.metrics import RATE_LIMITED
from tests.events import chart_event, encode
from tests.gateways import World
from tests.policy_cases import settings_of

SECOND_NS = 1_000_000_000
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def limit(**keys: Any) -> dict[str, Any]:
    return {"name": "slow", "kind": "rate_limit", "events_per_s": 0.5, "burst_events": 2} | keys


def body(*names: str) -> bytes:
    events = [chart_event(name, "1.0.0") for name in names]
    return encode(events) if len(events) > 1 else encode(events[0])  # type: ignore[arg-type]


async def test_who_publishes_too_fast_is_told_when_to_try_again(tmp_path: Path) -> None:
    """429 as a problem with code, rule and Retry-After, and nothing was published."""
    async with World(tmp_path, policies=[limit()]) as world:
        for name in ("a", "b"):
            assert (await world.post("/v1/events", by="c24", headers=STRUCTURED, data=body(name))).status == 202
        response = await world.post("/v1/events", by="c24", headers=STRUCTURED, data=body("c"))
        problem = await response.json()
        assert (response.status, problem["code"], problem["rule"]) == (429, "rate.limited", "slow")
        assert response.content_type == "application/problem+json"
        assert 1 <= int(response.headers["Retry-After"]) <= 2
        assert len(world.publisher.published) == 2


async def test_a_batch_counts_each_of_its_events(tmp_path: Path) -> None:
    """Whole or not at all; one that can never have room is told to be smaller."""
    async with World(tmp_path, policies=[limit()]) as world:
        assert (await world.post("/v1/events", by="c24", headers=BATCH, data=body("a", "b", "c"))).status == 413
        assert (await world.post("/v1/events", by="c24", headers=BATCH, data=body("a", "b"))).status == 202
        assert (await world.post("/v1/events", by="c24", headers=BATCH, data=body("d", "e"))).status == 429


async def test_what_is_not_valid_is_not_counted(tmp_path: Path) -> None:
    """Only what would enter takes room."""
    async with World(tmp_path, policies=[limit()]) as world:
        for _ in range(5):
            assert (await world.post("/v1/events", by="c24", headers=STRUCTURED, data=b"{}")).status == 422
        assert (await world.post("/v1/events", by="c24", headers=STRUCTURED, data=body("a"))).status == 202


def admitted(rates: DoorRates, principal: str = "c24", events: int = 1) -> bool:
    try:
        rates.admit(principal, events)
    except Problem:
        return False
    return True


def test_each_principal_has_room_of_its_own() -> None:
    """One cannot use up another's."""
    rates = DoorRates(settings_of(limit()), lambda: SECOND_NS)
    assert [admitted(rates, who) for who in ("a", "a", "a", "b", "b", "b")] == [True, True, False, True, True, False]


def test_waiting_as_told_is_enough() -> None:
    """After Retry-After there is room."""
    now = [SECOND_NS]
    rates = DoorRates(settings_of(limit()), lambda: now[0])
    rates.admit("c24", 2)
    with pytest.raises(Problem) as refused:
        rates.admit("c24", 1)
    now[0] += int(refused.value.headers["Retry-After"]) * SECOND_NS
    rates.admit("c24", 1)


@pytest.mark.parametrize("action", ["alert", "quarantine", "halt"])
def test_only_limits_that_refuse_answer_at_the_door(action: str) -> None:
    """The others need the engine, which gets the event with the bridge's stamp."""
    rates = DoorRates(settings_of(limit(action=action)), lambda: SECOND_NS)
    assert all(admitted(rates) for _ in range(100))


def test_a_tenth_of_the_burst_is_kept_back() -> None:
    """What the door lets in must not be over the rate by the time JetStream has it."""
    rates = DoorRates(settings_of(limit(burst_events=100)), lambda: SECOND_NS)
    assert sum(admitted(rates) for _ in range(200)) == 90


def test_what_is_turned_away_is_counted() -> None:
    """By principal and door."""
    before = RATE_LIMITED.labels("counted", "http")._value.get()
    rates = DoorRates(settings_of(limit()), lambda: SECOND_NS)
    admitted(rates, "counted", 2)
    admitted(rates, "counted", 2)
    assert RATE_LIMITED.labels("counted", "http")._value.get() == before + 2
