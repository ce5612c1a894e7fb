"""What is planted: a bug by its name, and where it shows. The bugs: `plants.py`, `plants_lost_tails.py`, `plants_outcomes.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

#: By name: what it does wrong is its docstring.
PLANTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {}
FOR_LOSSES: set[str] = set()
FOR_TROUBLE: set[str] = set()


def plant(function: Callable[[], Any]) -> Callable[[], Any]:
    PLANTS[function.__name__] = function
    return function


def plant_for_trouble(function: Callable[[], Any]) -> Callable[[], Any]:
    """It shows where requests to the log are late."""
    FOR_TROUBLE.add(function.__name__)
    return plant(function)


def plant_for_losses(function: Callable[[], Any]) -> Callable[[], Any]:
    """It shows only where the log loses its tail."""
    FOR_LOSSES.add(function.__name__)
    return plant(function)


@contextmanager
def together(*patches: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield
