"""What a partition does about a log that lost its tail: where it goes on, what it takes for a repetition, what it does not write over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from agents.lost_tail import go_on
from streams.commands import Command
from streams.log_reader import TP, Fetched
from streams.topics import Topics
from tables.model import Marker, Quarantined, version_key
from tables.store import Stores
from tests.brokers import orbit
from tests.events import FakeRecord, chart_event, record
from tests.partition import NOW_MS, Partition

TOPICS = Topics("t")
EVENTS, COMMANDS = TP(TOPICS.events, 0), TP(TOPICS.commands, 0)


class FakeReader:
    """What the log has of [events] and [commands] of partition 0."""

    def __init__(self, events: list[FakeRecord], commands: list[FakeRecord], beginning: int = 0) -> None:
        self._records = {EVENTS: events, COMMANDS: commands}
        self._beginning = beginning
        self._positions: dict[TP, int] = {}

    async def beginnings(self, tps: Iterable[TP]) -> dict[TP, int]:
        return dict.fromkeys(tps, self._beginning)

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {tp: self._records[tp][-1].offset + 1 if self._records[tp] else 0 for tp in tps}

    def assign(self, positions: Mapping[TP, int]) -> None:
        self._positions = dict(positions)

    async def position(self, tp: TP) -> int:
        return self._positions[tp]

    async def poll(self, timeout_s: float, only: Iterable[TP] = (), records_max: int | None = None) -> dict[TP, Fetched]:
        found = {tp: [r for r in self._records[tp] if r.offset >= at] for tp, at in self._positions.items()}
        return {tp: Fetched(records, records[-1].offset + 1) for tp, records in found.items() if records}


def command(offset: int, ident: str, timestamp: int = 0) -> FakeRecord:
    value = msgspec.json.encode(Command(ident, "sync", "operator", NOW_MS))
    return FakeRecord(offset, b"chart/a", value, (), timestamp=timestamp)


def events(count: int, first: int = 0) -> list[FakeRecord]:
    """Their identities begin with `first`, their offsets with 0."""
    return [record(n, chart_event("a", f"1.{n}.0"), sequence=first + n + 1) for n in range(count)]


def marker_behind(taken: list[FakeRecord], commands: list[FakeRecord]) -> Marker:
    return Marker(
        events=len(taken),
        last_event=dict(taken[-1].headers)["sm-ingress"].decode() if taken else "",
        commands=len(commands),
        last_command=f"c{len(commands) - 1}" if commands else "",
        command_ms=77,
    )


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    stores = Stores(tmp_path / "stores")
    yield Partition(stores.open(0), orbit(tmp_path))
    stores.close_all()


async def test_a_log_that_has_everything_is_read_on() -> None:
    """The records before the positions are the ones that were taken: nothing is read again."""
    there = [command(0, "c0"), command(1, "c1")]
    marker = await go_on(FakeReader(events(5), there), TOPICS, 0, marker_behind(events(3), there))  # type: ignore[arg-type]
    assert (marker.events, marker.commands, marker.commands_again) == (3, 2, (0, 0))


@pytest.mark.parametrize("left", [events(2), events(5, first=40), []], ids=["ends before", "has others", "empty"])
async def test_events_that_are_others_are_read_from_the_beginning(left: list[FakeRecord]) -> None:
    """[events] ends before the position, or has another record before it."""
    marker = await go_on(FakeReader(left, []), TOPICS, 0, marker_behind(events(3), []))  # type: ignore[arg-type]
    assert marker.events == 0


@pytest.mark.parametrize("left", [[command(0, "c0")], [command(0, "c0"), command(1, "new"), command(2, "newer")]])
async def test_commands_that_are_others_are_read_again_and_known_again(left: list[FakeRecord]) -> None:
    """[commands] ends before the position, or has another record before it: all of it is read, and what was taken is known by its time."""
    taken = [command(0, "c0"), command(1, "c1")]
    marker = await go_on(FakeReader([], left), TOPICS, 0, marker_behind([], taken))  # type: ignore[arg-type]
    assert (marker.commands, marker.commands_again) == (0, (2, 77))


async def test_what_retention_took_is_no_loss() -> None:
    """Reading begins where the log begins, and nothing is taken for lost."""
    left = [record(9, chart_event("a", "1.0.0"), sequence=9)]
    marker = await go_on(FakeReader(left, [], beginning=9), TOPICS, 0, marker_behind(events(3), []))  # type: ignore[arg-type]
    assert marker.events == 9


async def test_a_marker_without_signs_goes_by_its_positions() -> None:
    """State that is older than signs is read on as before."""
    marker = await go_on(FakeReader(events(5), [command(0, "x")]), TOPICS, 0, Marker(events=3, commands=1))  # type: ignore[arg-type]
    assert (marker.events, marker.commands) == (3, 1)


def test_only_commands_that_were_taken_are_passed_over(partition: Partition) -> None:
    """Below the old position, what is no newer than what was taken is a repetition; the others, and all behind it, are carried out."""
    partition.turn(record(0, chart_event("a", "1.0.0")))
    outcome = partition.try_turn(commands=[command(0, "c0", 70), command(1, "c1", 77)])
    again = msgspec.structs.replace(outcome.marker, commands=0, commands_again=(2, 77))
    batch = partition.store.batch()
    batch.apply("artifacts", b"\x00marker", msgspec.json.encode(again))
    partition.store.write(batch)
    partition.restart()
    partition.audit.clear()
    partition.turn(commands=[command(0, "c0", 70), command(1, "new", 90), command(2, "newer", 60)])
    assert [told.command for told in partition.audit] == ["new", "newer"]
    assert (partition.marker.commands, partition.marker.last_command) == (3, "newer")


def test_a_version_of_a_lost_turn_makes_no_duplicate(partition: Partition) -> None:
    """The changelog of heads alone went back: an event whose version is there, and its head is not, is accepted again."""
    first, second = record(0, chart_event("a", "1.0.0")), record(1, chart_event("a", "2.0.0"), sequence=2)
    partition.turn(first)
    kept = {key: partition.store.get("artifacts", key) for key in (b"chart/a", b"\x00marker")}
    partition.turn(second)
    batch = partition.store.batch()
    for key, value in kept.items():
        batch.apply("artifacts", key, value)
    partition.store.write(batch)
    partition.restart()
    partition.audit.clear()
    partition.turn(second)
    assert partition.outcomes() == ["accepted"]
    assert partition.head("chart/a").version == "2.0.0"
    assert partition.store.get("versions", version_key("chart/a", "2.0.0")) is not None


def test_no_original_is_written_over_when_positions_are_given_again(partition: Partition) -> None:
    """Two messages that are no events get the same position from a log that lost its tail: both are kept."""
    partition.turn(record(5, b"one", sequence=1))
    partition.turn(record(5, b"two", sequence=2))
    kept = [msgspec.json.decode(raw, type=Quarantined) for _, raw in partition.store.scan("quarantine", prefix=b"unknown/c24")]
    assert sorted(entry.body_base64 for entry in kept) == ["b25l", "dHdv"]
