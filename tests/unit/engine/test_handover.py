"""How a worker lets go of its partitions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.partitions import Partitions
from agents.rules import Rules
from streams.errors import Fenced
from tables.store import Stores
from tests.brokers import orbit
from tests.holding import nothing_held


class FakeSink:
    """One attempt is under way until `over` is set."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.attempt = asyncio.create_task(self.over.wait())

    def leave(self, partition: int) -> set[asyncio.Task[Any]]:
        return {self.attempt}


class FakeActor:
    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        self.stopped.set()


@pytest.fixture
async def serving(tmp_path: Path) -> tuple[Partitions, FakeActor, FakeSink]:
    """Partitions that own number 0."""
    settings, sink, actor = orbit(tmp_path), FakeSink(), FakeActor()
    unused: Any = None
    partitions = Partitions(
        settings,
        rules=Rules(settings),
        stores=Stores(tmp_path),
        positions=unused,
        sinks={"c": sink},  # type: ignore[dict-item]
        watch=nothing_held(),
        make_writer=unused,
        make_reader=unused,
    )
    partitions._actors[0] = actor  # type: ignore[assignment]
    partitions._owners[0] = asyncio.create_task(actor.stopped.wait())  # type: ignore[assignment]
    return partitions, actor, sink


class FakePositions:
    """The group, as the consumer sees it."""

    def __init__(self) -> None:
        self.is_ours = False
        self.asked = asyncio.Event()

    async def is_member(self) -> bool:
        self.asked.set()
        return self.is_ours


class FencedWriter:
    """Somebody else has the partition."""

    async def init(self) -> None:
        raise Fenced("as told")


async def test_a_fenced_worker_takes_its_partition_back_only_when_the_group_says_so(tmp_path: Path) -> None:
    """Two workers that both believe they own a partition do not fence each other in turn: the group settles it."""
    settings, positions, made = orbit(tmp_path), FakePositions(), list[str]()

    def make_writer(ident: str) -> Any:
        made.append(ident)
        return FencedWriter()

    unused: Any = None
    partitions = Partitions(
        settings,
        rules=Rules(settings),
        stores=Stores(tmp_path / "stores"),
        positions=positions,  # type: ignore[arg-type]
        sinks={},
        watch=nothing_held(),
        make_writer=make_writer,
        make_reader=unused,
    )
    await partitions.assign({0}, set())
    for _ in range(2):
        positions.asked.clear()
        await asyncio.wait_for(positions.asked.wait(), 5)
    assert len(made) == 1
    positions.is_ours = True
    async with asyncio.timeout(5):
        while len(made) < 2:
            await asyncio.sleep(0.01)
    await partitions.aclose(1)


async def test_attempts_under_way_end_before_a_partition_is_let_go(serving: tuple[Partitions, FakeActor, FakeSink]) -> None:
    """The next owner cannot deliver something newer while an older delivery of ours is on the wire."""
    partitions, actor, sink = serving
    revoking = asyncio.create_task(partitions.revoke(30))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not actor.stopped.is_set()
    sink.over.set()
    await asyncio.wait_for(revoking, 5)
    assert actor.stopped.is_set()


async def test_an_attempt_that_does_not_end_keeps_nobody_waiting(serving: tuple[Partitions, FakeActor, FakeSink]) -> None:
    """Half of the grace is for attempts; then the partition goes all the same."""
    partitions, actor, _ = serving
    started_s = asyncio.get_running_loop().time()
    await asyncio.wait_for(partitions.revoke(0.1), 5)
    assert actor.stopped.is_set()
    assert asyncio.get_running_loop().time() - started_s < 2
