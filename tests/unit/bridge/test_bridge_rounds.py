"""The round that grows while another is appended: nothing is handed out twice, nothing is forgotten, nobody waits for what is there."""

from __future__ import annotations

import asyncio

import pytest

from streams.bridge_encode import Round
from streams.bridge_rounds import Rounds


async def test_a_round_grows_until_it_is_taken() -> None:
    """Whoever encodes goes on with the open one, and finds none when it has been taken."""
    rounds = Rounds()
    first = Round({}, {}, messages=1)
    rounds.grown(first)
    assert rounds.open is first
    rounds.grown(first, (3, 4))
    assert await rounds.take() == (first, (3, 4))
    assert rounds.open is None


async def test_what_has_arrived_is_told_once_it_is_in_a_round() -> None:
    """Of messages that are encoded in parts, the pulls are free only with the last part."""
    rounds = Rounds()
    rounds.grown(Round({}, {}, messages=1))
    assert await rounds.take() == (Round({}, {}, messages=1), None)
    rounds.grown(Round({}, {}, messages=2), (7,))
    assert await rounds.take() == (Round({}, {}, messages=2), (7,))


async def test_a_round_is_handed_out_once() -> None:
    """The second one who asks waits for the next."""
    rounds = Rounds()
    rounds.grown(Round({}, {}), (1,))
    await rounds.take()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rounds.take(), 0.01)
