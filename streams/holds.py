"""The holds in effect, compiled: may this artifact go to that component now? Pure. Where they come from: `control.py`, `control_reader.py`."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache

from streams.control import Hold
from streams.settings import glob

_CACHED_PAIRS_MAX = 65_536


class Holds:
    """Never changed: made anew when one is made or released, and swapped whole. False when there is none."""

    def __init__(self, holds: Iterable[Hold] = ()) -> None:
        self._holds = sorted(holds, key=lambda hold: (hold.at_ms, hold.id))
        self._exact: defaultdict[str, list[int]] = defaultdict(list)  # numbers of the holds that name an artifact as it is
        self._others: list[int] = []
        for number, hold in enumerate(self._holds):
            for pattern in hold.artifacts:
                if "*" not in pattern:
                    self._exact[pattern].append(number)
            if not hold.artifacts or any("*" in pattern for pattern in hold.artifacts):
                self._others.append(number)
        self._patterns = {number: _patterns(self._holds[number]) for number in self._others}
        self.blocks = lru_cache(maxsize=_CACHED_PAIRS_MAX)(self._blocks)

    @cached_property
    def hash(self) -> str:
        """Stands for the set; "" for the empty one."""
        return hashlib.sha256(repr(self._holds).encode()).hexdigest()[:16] if self._holds else ""

    def __bool__(self) -> bool:
        return bool(self._holds)

    def __len__(self) -> int:
        return len(self._holds)

    def __iter__(self) -> Iterator[Hold]:
        """The oldest first."""
        return iter(self._holds)

    def __contains__(self, ident: str) -> bool:
        return any(hold.id == ident for hold in self._holds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Holds) and self._holds == other._holds

    def __hash__(self) -> int:
        return hash(self.hash)

    def plus(self, *holds: Hold) -> Holds:
        """With these too, in place of any with their ids."""
        ids = {hold.id for hold in holds}
        return Holds([*(hold for hold in self._holds if hold.id not in ids), *holds])

    def of_artifact(self, artifact: str) -> list[Hold]:
        """Those that stop its deliveries to some component, the oldest first."""
        found = {*self._exact.get(artifact, ()), *(n for n in self._others if _matches(self._patterns[n], artifact))}
        return [self._holds[number] for number in sorted(found)]

    def of_component(self, component: str) -> list[Hold]:
        """Those that stop deliveries of some artifact to it, the oldest first."""
        return [hold for hold in self._holds if hold.component in ("", component)]

    def _blocks(self, artifact: str, component: str) -> Hold | None:
        """The oldest hold because of which no delivery of the artifact to the component may begin; None if there is none."""
        return next((hold for hold in self.of_artifact(artifact) if hold.component in ("", component)), None)


def _patterns(hold: Hold) -> list[re.Pattern[str]]:
    return [glob(pattern) for pattern in hold.artifacts if "*" in pattern]


def _matches(patterns: list[re.Pattern[str]], artifact: str) -> bool:
    """A hold that names no artifact is about all of them."""
    return not patterns or any(pattern.fullmatch(artifact) for pattern in patterns)
