"""The register of checkers: functions of a `World` that raise where something does not hold. Those of a kind are in a file of theirs."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.world import World

Checker = Callable[[World], None]
CHECKERS: list[Checker] = []


def checker(function: Checker) -> Checker:
    CHECKERS.append(function)
    return function
