"""Tokens: what a write returns, and how a read waits for it."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.problems import Problem
from gateway.tokens import Token, parse
from tables.audit_record import Outcome
from tables.model import Marker
from tests.gateways import PARTITIONS, World

names = st.from_regex(r"SM_IN_[a-z0-9-]{1,40}", fullmatch=True)
partitions = st.integers(0, PARTITIONS - 1)
numbers = st.integers(0, 2**40)


@given(names, partitions, st.tuples(numbers, numbers, st.integers(0, 1000)))
def test_event_token_round_trip(stream: str, partition: int, mark: tuple[int, int, int]) -> None:
    """What is written as a token is read as the same token."""
    token = Token(stream, partition, mark)
    assert parse(str(token), PARTITIONS) == token


@given(partitions, numbers)
def test_command_token_round_trip(partition: int, offset: int) -> None:
    """The same for commands."""
    token = Token("commands", partition, offset=offset)
    assert parse(str(token), PARTITIONS) == token


@given(st.text(max_size=60))
def test_any_other_text_is_a_400(text: str) -> None:
    """Nothing that a caller can send is anything but refused with a 400 unless it has a token's form."""
    assume(not text.isascii() or ":" not in text)
    with pytest.raises(Problem) as caught:
        parse(text, PARTITIONS)
    assert (caught.value.status, caught.value.code) == (400, "token.malformed")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "SM_IN_c4:0:1.2",
        "SM_IN_c4:4:1.2.3",
        "SM_IN_c4:-1:1.2.3",
        "commands:0:x",
        "commands:0:1.2.3",
        ":0:1.2.3",
        "SM_IN_c4:٣:1.2.3",
    ],
)
def test_malformed(text: str) -> None:
    """What no write has returned is refused, a partition that does not exist included."""
    with pytest.raises(Problem):
        parse(text, PARTITIONS)


@pytest.mark.parametrize(
    ("taken", "reached"),
    [((1, 4710, 9), False), ((1, 4711, 0), True), ((1, 4711, 1), True), ((2, 1, 0), True), ((0, 9999, 0), False), (None, False)],
)
def test_event_token_is_reached(taken: tuple[int, int, int] | None, reached: bool) -> None:
    """An event is applied when the stream's mark is at or beyond it, incarnation first."""
    marker = Marker(marks={"SM_IN_c24": taken} if taken else {"SM_IN_other": (9, 9, 9)})
    assert Token("SM_IN_c24", 3, (1, 4711, 0)).reached(marker) is reached


@pytest.mark.parametrize(("commands", "reached"), [(812, False), (813, True)])
def test_command_token_is_reached(commands: int, reached: bool) -> None:
    """A command is applied when the next one to read is behind it."""
    assert Token("commands", 3, offset=812).reached(Marker(commands=commands)) is reached


async def test_read_waits_for_every_token(world: World) -> None:
    """A read is answered only when all of its tokens have been applied, and 504 says that they have not been in time."""
    world.artifact("chart/a")
    path = "/v1/artifacts/chart%2Fa?min_token=SM_IN_c24:1:1.7.0&min_token=commands:2:5"
    response = await world.get(path)
    assert (response.status, (await response.json())["code"]) == (504, "token.timeout")
    assert "Retry-After" in response.headers
    world.marker(1, marks={"SM_IN_c24": (1, 7, 0)})
    assert (await world.get(path)).status == 504
    world.marker(2, commands=6)
    assert (await world.get(path)).status == 200


async def test_replica_that_is_just_starting(world: World) -> None:
    """A token for a partition that is not open yet is 503."""
    world.stores.close(2)
    response = await world.get("/v1/artifacts?min_token=commands:2:5")
    assert (response.status, (await response.json())["code"]) == (503, "replica.restoring")


async def test_event_waits_for_the_audit_index_too(world: World) -> None:
    """What became of an event is read after the audit records of its partition have arrived."""
    partition = world.partition("chart/a")
    world.marker(partition, marks={"SM_IN_c24": (1, 7, 0)}, audit_seq=1)
    path = f"/v1/events/urn%3Atest/e1?min_token=SM_IN_c24:{partition}:1.7.0"
    assert (await world.get(path)).status == 504
    world.audit(Outcome.ACCEPTED, artifact="chart/a")
    assert (await world.get(path)).status == 200
