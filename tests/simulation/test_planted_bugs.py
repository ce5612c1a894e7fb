"""The simulation finds what it is for: each bug of `plants.py` breaks a guarantee, and some seed shows it, soon."""

from __future__ import annotations

import pytest

from tests.simulation.plants import PLANTS
from tests.simulation.run import Failure, run_seed

#: A bug that needs more runs than this to show is one that the daily run would miss.
SEEDS_MAX = 1000


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    """With the bug in the code some run fails, and tells its seed."""
    with PLANTS[name]():
        found = next(filter(None, map(_failure, range(SEEDS_MAX))), None)
    assert found is not None, f"{SEEDS_MAX} runs with this bug, and nothing was noticed: {PLANTS[name].__doc__}"
    assert "\nseed " in found


def _failure(seed: int) -> str | None:
    try:
        run_seed(seed)
    except Failure as exc:
        return str(exc)
    return None
