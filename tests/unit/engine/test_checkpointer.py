"""When checkpoints are made, and what happens when the log or NATS does not take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from agents.checkpointer import Checkpointer
from streams.errors import Fenced, Retriable
from streams.log_transaction import Append
from tables.audit_checkpoint import Checkpoint
from tables.model import Marker
from tests.brokers import orbit
from tests.chains import KEY, TRUST

NOW_MS = 1_795_000_000_000


class Owner:
    """An actor whose chain has so many records."""

    def __init__(self, seq: int) -> None:
        self.marker = Marker(audit_seq=seq, audit_head=f"{seq:064x}")

    def grow(self) -> None:
        self.marker = Marker(audit_seq=self.marker.audit_seq + 1, audit_head="f" * 64)


class Log:
    """Gives out writers. What is written while `fails` is set fails."""

    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.inits = 0
        self.written: list[Checkpoint] = []

    def writer(self, transactional_id: str) -> Log:
        return self

    async def init(self) -> None:
        self.inits += 1

    async def commit(self, appends: Sequence[Append], timestamp_ms: int) -> dict[tuple[str, int], int]:
        if self.fails:
            raise self.fails
        for append in appends:
            assert append.topic.endswith(".audit-checkpoints")
            self.written += [msgspec.json.decode(value or b"", type=Checkpoint) for _, value, _ in append.records]
        return {}


class Nats:
    def __init__(self) -> None:
        self.away = False
        self.published: list[tuple[int, int]] = []

    async def publish(self, partition: int, ident: str, payload: bytes) -> None:
        if self.away:
            raise Retriable("NATS is away")
        self.published.append((partition, msgspec.json.decode(payload, type=Checkpoint).seq))

    async def aclose(self) -> None: ...


class World:
    def __init__(self, directory: Path) -> None:
        self.log, self.nats = Log(), Nats()
        self.owners = {0: Owner(3), 1: Owner(5)}
        self.checkpointer = Checkpointer(
            orbit(directory),
            KEY,
            served=lambda: self.owners,
            make_writer=self.log.writer,  # type: ignore[arg-type]
            publisher=self.nats,
            clock=lambda: NOW_MS,
        )

    def seqs(self) -> list[tuple[int, int]]:
        return [(checkpoint.partition, checkpoint.seq) for checkpoint in self.log.written]


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_each_partition(world: World) -> None:
    """Each partition gets one, signed, with the head of its marker; it goes to the log and to NATS."""
    await world.checkpointer.round()
    assert world.seqs() == world.nats.published == [(0, 3), (1, 5)]
    assert not any(map(TRUST.doubt, world.log.written))
    assert [c.head for c in world.log.written] == [f"{3:064x}", f"{5:064x}"]


async def test_only_what_moved(world: World) -> None:
    """A chain that has not grown gets no other one."""
    await world.checkpointer.round()
    world.owners[1].grow()
    await world.checkpointer.round()
    assert world.seqs() == [(0, 3), (1, 5), (1, 6)]


async def test_a_chain_that_is_empty(world: World) -> None:
    """A partition without a record gets none."""
    world.owners = {0: Owner(0)}
    await world.checkpointer.round()
    assert world.seqs() == []


async def test_nats_is_away(world: World) -> None:
    """The log has it all the same; NATS gets the newest of each partition when it is back."""
    world.nats.away = True
    await world.checkpointer.round()
    world.owners[1].grow()
    await world.checkpointer.round()
    world.nats.away = False
    await world.checkpointer.round()
    assert world.seqs() == [(0, 3), (1, 5), (1, 6)]
    assert sorted(world.nats.published) == [(0, 3), (1, 6)]


async def test_another_has_the_partition(world: World) -> None:
    """Who lost the right to write takes it anew only once its chain has moved, which proves that it owns the partition."""
    world.log.fails = Fenced("another")
    await world.checkpointer.round()
    world.log.fails = None
    await world.checkpointer.round()
    assert (world.log.inits, world.seqs(), world.nats.published) == (2, [], [])
    world.owners[0].grow()
    await world.checkpointer.round()
    assert (world.log.inits, world.seqs()) == (3, [(0, 4)])


async def test_the_log_is_away(world: World) -> None:
    """It is tried again, and nothing that the log does not have goes to NATS."""
    world.log.fails = Retriable("away")
    await world.checkpointer.round()
    assert world.nats.published == []
    world.log.fails = None
    await world.checkpointer.round()
    assert world.seqs() == world.nats.published == [(0, 3), (1, 5)]


async def test_a_partition_that_comes_back(world: World) -> None:
    """A partition that was given away and comes back gets one at once, under a right to write of its own."""
    await world.checkpointer.round()
    kept = world.owners.pop(0)
    await world.checkpointer.round()
    world.owners[0] = Owner(kept.marker.audit_seq)
    await world.checkpointer.round()
    assert world.seqs() == [(0, 3), (1, 5), (0, 3)]
    assert world.log.inits == 3
