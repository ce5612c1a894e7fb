"""Which version goes out next: the newest, or each in the order of its generation."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from agents.delivery import plan
from agents.sinks.base import Receipt
from streams.errors import Retriable
from streams.events import Action
from tables.model import Head, Sync, Version


class View:
    """Versions by their generations; counts how often the index is walked."""

    partition = 0

    def __init__(self, **generations: int) -> None:
        self._generations = generations
        self.walks = 0

    def head(self, artifact: str) -> Head | None:
        raise NotImplementedError

    def heads(self, after: str = "") -> Iterator[tuple[str, Head]]:
        raise NotImplementedError

    async def receive(self, receipt: Receipt) -> None:
        raise NotImplementedError

    def version(self, artifact: str, version: str) -> Version | None:
        generation = self._generations.get(version)
        return None if generation is None else Version(generation, None, Action.PUBLISHED, "", {}, msgspec.Raw(b"{}"))

    def versions_after(self, artifact: str, generation: int) -> Iterator[tuple[int, str]]:
        self.walks += 1
        return iter(sorted((found, name) for name, found in self._generations.items() if found > generation))


def test_the_next_generation_is_found_without_walking_the_index() -> None:
    """Where the newest version is the very next one nothing can be between: one look-up, as nearly every delivery wants it."""
    view = View(v1=1, v2=2, v3=3)
    planned = plan(view, "chart/a", Sync(desired=3, version="v3"), "every", after=2)
    assert (planned.generation, planned.name, planned.covers) == (3, "v3", 1)
    assert view.walks == 0


def test_every_version_since_goes_out_in_order() -> None:
    """A component that is further behind gets the oldest version that it lacks, not the newest."""
    planned = plan(View(v1=1, v2=2, v3=3), "chart/a", Sync(desired=3, version="v3"), "every", after=1)
    assert (planned.generation, planned.name) == (2, "v2")


def test_an_older_version_that_was_accepted_last_goes_out_too() -> None:
    """By SemVer the newest may have an earlier generation than what was accepted after it."""
    planned = plan(View(v9=1, v2=2), "chart/a", Sync(desired=2, version="v9"), "every", after=1)
    assert (planned.generation, planned.name) == (2, "v2")


def test_a_generation_without_a_version_repeats_the_newest() -> None:
    """A manual sync raises the generation and nothing else."""
    planned = plan(View(v1=1), "chart/a", Sync(desired=2, version="v1"), "every", after=1)
    assert (planned.generation, planned.name) == (2, "v1")


def test_latest_passes_over_what_is_between() -> None:
    """One delivery settles all generations that are pending."""
    planned = plan(View(v1=1, v2=2, v3=3), "chart/a", Sync(desired=3, version="v3", pending=3), "latest", after=0)
    assert (planned.generation, planned.name, planned.covers) == (3, "v3", 3)


def test_a_version_that_is_not_in_the_state_is_tried_again() -> None:
    """Another table may be behind; the operator is told what helps if it stays away."""
    with pytest.raises(Retriable, match="publish it again"):
        plan(View(), "chart/a", Sync(desired=1, version="v1"), "latest", after=0)
