"""Holds in the simulation: nothing begins under one, whatever happens to workers and log, and everything comes into step afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import pytest

import agents.holds
import agents.pipeline
from agents.hold_watch import HoldWatch
from agents.sinks.backlog import Backlog
from tests.simulation.run import Failure, run_holding_seed

SEEDS, SEEDS_MIN, PROCESSOR_S_MAX = 400, 60, 10.0
#: A bug that needs more runs than this to show is one that the daily run would miss.
PLANTED_SEEDS_MAX = 200


def test_nothing_begins_under_a_hold_on_any_schedule() -> None:
    """Kills, stops, a log that is away or loses requests, turns that are given up: every checker holds, that of holds too."""
    began_s = time.process_time()
    for seed in range(SEEDS):
        run_holding_seed(seed)
        if time.process_time() - began_s > PROCESSOR_S_MAX and seed >= SEEDS_MIN:
            break


def _lease_without_end() -> Any:
    """What was read once is believed for ever."""
    return patch.object(HoldWatch, "is_current", lambda self: self._control.ready)


def _not_knowing_means_free() -> Any:
    """Who has not read the control topic takes nothing to be held."""
    return patch.object(HoldWatch, "is_current", lambda self: True)


def _records_are_not_held() -> Any:
    """Turns write the records of components that read the log, whatever is held."""
    return patch.object(agents.pipeline.TurnState, "__init__", _without_holds(agents.pipeline.TurnState.__init__))


def _without_holds(original: Any) -> Any:
    def made(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        self.holds = agents.holds.Holds()

    return made


def _release_is_not_noticed() -> Any:
    """What waits is looked at again only when something else changes."""
    return patch.object(Backlog, "holds_changed", lambda self: None)


def _released_records_are_forgotten() -> Any:
    """Nobody comes back to records that have waited."""
    return patch.object(agents.pipeline, "release_logs", lambda state: None)


PLANTS: list[Callable[[], AbstractContextManager[Any]]] = [
    _lease_without_end,
    _not_knowing_means_free,
    _records_are_not_held,
    _release_is_not_noticed,
    _released_records_are_forgotten,
]


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_found(plant: Callable[[], AbstractContextManager[Any]]) -> None:
    """With the bug in the code some run fails, soon."""
    with plant():
        assert any(map(_fails, range(PLANTED_SEEDS_MAX))), f"nothing was noticed: {plant.__doc__}"


def _fails(seed: int) -> bool:
    try:
        run_holding_seed(seed)
    except Failure:
        return True
    return False
