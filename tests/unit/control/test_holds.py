"""The holds in effect, compiled; and what a worker that cannot read them takes to be in effect."""

from __future__ import annotations

from agents.hold_watch import UNKNOWN, HoldWatch
from streams.control import Hold
from streams.holds import Holds
from tests.holding import FakeControl


def blocked(holds: Holds, *pairs: str) -> list[str]:
    return [pair for pair in pairs if holds.blocks(*pair.split(" ")) is not None]


def test_a_hold_is_about_its_artifacts_and_its_component() -> None:
    """Patterns select artifacts, a component selects itself, and what is not given selects all."""
    pairs = ("chart/a c", "chart/b c", "chart/b d", "image/a c")
    assert blocked(Holds([Hold("1", "hold", ("chart/a", "image/*"))]), *pairs) == ["chart/a c", "image/a c"]
    assert blocked(Holds([Hold("1", "pause", (), "c")]), *pairs) == ["chart/a c", "chart/b c", "image/a c"]
    assert blocked(Holds([Hold("1", "halt", ("chart/*",), "d")]), *pairs) == ["chart/b d"]
    assert blocked(Holds([Hold("1", "halt")]), *pairs) == list(pairs)
    assert blocked(Holds(), *pairs) == []


def test_the_oldest_hold_is_named() -> None:
    """Of several that stop a pair, the one that was there first is told as the reason."""
    holds = Holds([Hold("b", "halt", at_ms=2), Hold("c", "hold", ("chart/a",), at_ms=1), Hold("a", "pause", (), "c", at_ms=2)])
    assert [hold.id for hold in holds] == ["c", "a", "b"]
    found = [holds.blocks(artifact, "c") for artifact in ("chart/a", "chart/b")]
    assert [hold and hold.id for hold in found] == ["c", "a"]
    assert [hold.id for hold in holds.of_artifact("chart/b")] == ["a", "b"]
    assert [hold.id for hold in holds.of_component("d")] == ["c", "b"]


def test_equal_sets_have_equal_hashes() -> None:
    """The hash stands for what is held, whatever the order in which it was told; the empty set has none."""
    one, two = Hold("1", "halt", at_ms=1), Hold("2", "halt", at_ms=1)
    assert Holds([one, two]).hash == Holds([two, one]).hash != Holds([one]).hash
    assert Holds([one]).plus(two) == Holds([two, one])
    assert Holds().hash == ""
    assert not Holds()


def test_nobody_knows_means_everything_is_held() -> None:
    """Who has not read the control topic lately acts as if everything were held."""
    control = FakeControl()
    watch = HoldWatch(control)
    assert not watch.in_effect()
    control.is_known = False
    assert watch.in_effect() is UNKNOWN
    assert UNKNOWN.blocks("chart/a", "c") is not None


def test_a_hold_of_this_worker_is_in_effect_before_it_is_read() -> None:
    """What a turn has committed holds at once, and once it was read, what is read decides."""
    control, told = FakeControl(), []
    watch = HoldWatch(control)
    watch.on_change.append(lambda: told.append(len(watch.holds)))
    watch.announce([Hold("p", "halt", ("chart/a",))])
    assert blocked(watch.holds, "chart/a c", "chart/b c") == ["chart/a c"]
    control.holds["p"] = Hold("p", "halt", ("chart/a",))
    control.tell()
    control.release("p")
    assert not watch.holds
    assert told == [1, 0]
