"""What a seed means: who runs, what is published when, and what goes wrong. Plain data, so that a failing run can be printed and read."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from tests.events import chart_event, encode

#: Faults begin no later than this, and are over at HEAL_S; from there everything has to come into step.
FAULTS_UNTIL_S = 5.0
HEAL_S = 8.0
ARTIFACTS = ("a", "b", "shared")


class Action(NamedTuple):
    """At `at_s` from the start. `arguments` are what the method `World.<what>` or the runner's takes."""

    at_s: float
    what: str
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        shown = ", ".join(_short(argument) for argument in self.arguments)
        return f"{self.at_s:7.3f} s  {self.what}({shown})"


class Schedule(NamedTuple):
    seed: int
    partitions: int
    workers: int
    bridges: int
    actions: list[Action]
    has_holds: bool = False
    parks: bool = False

    def __str__(self) -> str:
        head = f"seed {self.seed}: {self.partitions} partitions, {self.workers} workers, {self.bridges} bridges"
        return "\n".join([head, *map(str, self.actions), f"{HEAL_S:7.3f} s  everything works again"])


def make_schedule(seed: int, *, faults: bool = True) -> Schedule:
    """One seed in five also has JetStream lose what it had acknowledged."""
    chance = random.Random(f"schedule {seed}")
    partitions, workers, bridges = chance.choice((1, 1, 1, 2, 3)), chance.choice((1, 1, 2, 2, 3)), chance.choice((1, 1, 2))
    actions = [*_publications(chance), *_commands(chance)]
    if faults:
        actions += [chance.choice(_FAULTS)(chance, workers, bridges) for _ in range(chance.randint(1, 6))]
        if chance.random() < 0.2:
            actions.append(chance.choice((_lose_stream_tail, _make_stream_anew))(chance, workers, bridges))
    return _made(seed, partitions, workers, bridges, actions)


def make_troubled_schedule(seed: int) -> Schedule:
    """One request in ten to the log is late or lost, from beginning to end; nothing else goes wrong."""
    chance = random.Random(f"troubled schedule {seed}")
    actions = [*_publications(chance), *_commands(chance), *_commands(chance), Action(0.3, "trouble", ("kafka", 0.1, 6.0))]
    return _made(seed, chance.choice((1, 2)), 1, 1, actions)


def make_losing_schedule(seed: int) -> Schedule:
    """The log goes back to what it was some time ago; in every second run other things go wrong besides."""
    chance = random.Random(f"losing schedule {seed}")
    partitions, workers, bridges = chance.choice((1, 2, 3)), chance.choice((1, 2)), chance.choice((1, 1, 2))
    actions = [*_publications(chance), *_commands(chance), *_commands(chance)]
    actions.append(Action(_at(chance), "lose_log_tail", (chance.uniform(0.1, 2.0),)))
    if chance.random() < 0.5:
        actions += [chance.choice(_FAULTS)(chance, workers, bridges) for _ in range(chance.randint(1, 3))]
    return _made(seed, partitions, workers, bridges, actions)


def make_holding_schedule(seed: int) -> Schedule:
    """As `make_schedule` with faults, and deliveries are held and released meanwhile."""
    chance = random.Random(f"holding schedule {seed}")
    partitions, workers = chance.choice((1, 2)), chance.choice((1, 2, 2))
    actions = [*_publications(chance), *_commands(chance)]
    for _ in range(chance.randint(1, 3)):
        hold = Action(chance.uniform(0.1, 3.0), "hold", _held(chance))
        actions += [hold, *(_sleep_through(chance, hold.at_s, workers) if chance.random() < 0.6 else ())]
    actions += [chance.choice(_FAULTS_OF_HOLDS)(chance, workers, 1) for _ in range(chance.randint(1, 4))]
    return _made(seed, partitions, workers, 1, actions)._replace(has_holds=True)


def make_parking_schedule(seed: int) -> Schedule:
    """As `make_schedule` with faults; a policy parks some events, and operators release and discard meanwhile."""
    chance = random.Random(f"parking schedule {seed}")
    partitions, workers, bridges = chance.choice((1, 1, 2)), chance.choice((1, 2, 2)), chance.choice((1, 1, 2))
    actions = [*_parked_publications(chance), *_commands(chance)]
    for _ in range(chance.randint(2, 6)):
        verb = chance.choice(("release", "release", "release", "discard"))
        decision = (f"chart/{chance.choice(ARTIFACTS)}", verb, chance.random() < 0.3)
        actions.append(Action(chance.uniform(1.0, HEAL_S), "decide", decision))
    actions += [chance.choice(_FAULTS)(chance, workers, bridges) for _ in range(chance.randint(1, 4))]
    return _made(seed, partitions, workers, bridges, actions)._replace(parks=True)


def _parked_publications(chance: random.Random) -> list[Action]:
    """Mostly about one artifact, so that much waits; some of it is repeated by its producer."""
    actions: list[Action] = []
    at_s = 0.2
    for number in range(1, chance.randint(8, 26)):
        at_s += chance.choice((0.0, 0.01, 0.05, 0.3, 0.6))
        name = chance.choice(("a", "a", "a", "b"))
        source = "urn:parked" if chance.random() < 0.2 else "urn:test"
        body = _event(name, number, "published", f"{number}", source)
        if actions and chance.random() < 0.1:
            body = chance.choice(actions).arguments[1]
        actions.append(Action(min(at_s, HEAL_S), "publish", ("c24", body)))
    return actions


def _held(chance: random.Random) -> tuple[tuple[str, ...], str, float]:
    """(artifacts, component, for how long)."""
    artifacts = chance.choice(((), (), ("chart/a",), ("chart/*",), ("chart/b", "chart/s*")))
    return artifacts, chance.choice(("", "", "every", "latest", "logged")), chance.uniform(0.5, 6.0)


def _sleep_through(chance: random.Random, at_s: float, workers: int) -> list[Action]:
    """A worker that has retries to make stands still when the hold comes, and wakes up before its session is over."""
    busy = [Action(max(0.1, at_s - 1.0), "answer", (name, "busy", 0.8, 3.0)) for name in ("every", "latest")]
    began_s = at_s - chance.uniform(0.0, 0.3)
    return [*busy, Action(max(0.1, began_s), "stop_worker", (chance.randrange(workers), chance.uniform(1.2, 1.9)))]


def _made(seed: int, partitions: int, workers: int, bridges: int, actions: list[Action]) -> Schedule:
    return Schedule(seed, partitions, workers, bridges, sorted(actions, key=lambda action: action.at_s))


# -- what is published ------------------------------------------------------------------------------------------------------------


def _publications(chance: random.Random) -> list[Action]:
    actions: list[Action] = []
    published: list[tuple[str, bytes]] = []
    counts = dict.fromkeys(ARTIFACTS, 0)
    at_s = 0.2
    for _ in range(chance.randint(4, 18)):
        at_s += chance.choice((0.0, 0.01, 0.05, 0.3, 1.0))
        principal, body = _publication(chance, counts, published)
        published.append((principal, body))
        actions.append(Action(min(at_s, FAULTS_UNTIL_S), "publish", (principal, body)))
    return actions


def _publication(chance: random.Random, counts: dict[str, int], published: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    name, kind = chance.choice(ARTIFACTS), chance.random()
    principal = "c4" if name == "shared" and chance.random() < 0.5 else "c24"
    if kind < 0.08 and published:
        return chance.choice(published)  # the producer repeats itself
    if kind < 0.12:
        return principal, b"\xff no event"
    if kind < 0.16:
        return "c4", _event("a", counts["a"], "published", "forbidden")
    if kind < 0.22 and counts[name]:
        return principal, _event(name, chance.randint(1, counts[name]), "deleted", "deleted")
    if kind < 0.30:
        counts["a"], counts["b"] = counts["a"] + 1, counts["b"] + 1
        return "c24", b"[%b,%b]" % (_event("a", counts["a"]), _event("b", counts["b"]))
    counts[name] += 1
    version = counts[name] if chance.random() < 0.8 else max(1, counts[name] - 2)
    return principal, _event(name, version, "published", f"{counts[name]}")


@lru_cache(maxsize=4096)
def _event(name: str, version: int, action: str = "published", ident: str = "", source: str = "urn:test") -> bytes:
    ident = f"{name}-{version}-{action}-{ident}"
    return encode(chart_event(name, f"1.{version}.0", ident=ident, action=action, source=source))


def _commands(chance: random.Random) -> list[Action]:
    return [
        Action(
            chance.uniform(0.5, FAULTS_UNTIL_S),
            "command",
            (f"chart/{chance.choice(ARTIFACTS)}", chance.choice(("", "every", "latest"))),
        )
        for _ in range(chance.choice((0, 0, 1, 3)))
    ]


# -- what goes wrong --------------------------------------------------------------------------------------------------------------

Fault = Callable[[random.Random, int, int], Action]


def _at(chance: random.Random) -> float:
    return chance.uniform(0.1, FAULTS_UNTIL_S)


def _for(chance: random.Random) -> float:
    """Shorter than anything notices, about a session, or much longer."""
    return chance.choice((chance.uniform(0.01, 0.5), chance.uniform(0.5, 3.0), chance.uniform(3.0, 6.0)))


def _kill_worker(chance: random.Random, workers: int, _: int) -> Action:
    return Action(
        _at(chance), "kill_worker", (chance.randrange(workers), _for(chance), chance.choice(("keep", "keep", "keep", "drop")))
    )


def _stop_worker(chance: random.Random, workers: int, _: int) -> Action:
    return Action(_at(chance), "stop_worker", (chance.randrange(workers), _for(chance)))


def _leave_worker(chance: random.Random, workers: int, _: int) -> Action:
    return Action(_at(chance), "leave_worker", (chance.randrange(workers), _for(chance)))


def _kill_bridge(chance: random.Random, _: int, bridges: int) -> Action:
    return Action(_at(chance), "kill_bridge", (chance.randrange(bridges), _for(chance)))


def _stop_bridge(chance: random.Random, _: int, bridges: int) -> Action:
    return Action(_at(chance), "stop_bridge", (chance.randrange(bridges), _for(chance)))


def _away(chance: random.Random, *_: int) -> Action:
    return Action(_at(chance), "away", (chance.choice(("kafka", "nats", "orbit")), chance.uniform(0.1, 3.0)))


def _trouble(chance: random.Random, *_: int) -> Action:
    return Action(
        _at(chance), "trouble", (chance.choice(("kafka", "kafka", "nats", "orbit")), chance.uniform(0.02, 0.4), _for(chance))
    )


def _refuse(chance: random.Random, *_: int) -> Action:
    topic = chance.choice(("events", "audit", "artifacts", "versions", "sync"))
    return Action(_at(chance), "refuse", (topic, chance.uniform(0.2, 0.9), chance.uniform(0.1, 2.0)))


def _restart_nats(chance: random.Random, *_: int) -> Action:
    return Action(_at(chance), "restart_nats", ())


def _answer(chance: random.Random, *_: int) -> Action:
    component, what = chance.choice(("every", "latest", "newest")), chance.choice(("away", "busy", "reject", "bug"))
    return Action(_at(chance), "answer", (component, what, chance.uniform(0.2, 1.0), _for(chance)))


def _lose_stream_tail(chance: random.Random, *_: int) -> Action:
    return Action(_at(chance), "lose_stream_tail", (chance.choice(("c4", "c24")), chance.randint(1, 4)))


def _make_stream_anew(chance: random.Random, *_: int) -> Action:
    return Action(_at(chance), "make_stream_anew", (chance.choice(("c4", "c24")),))


_WEIGHTS: dict[Fault, int] = {
    _kill_worker: 4,
    _stop_worker: 4,
    _leave_worker: 1,
    _kill_bridge: 2,
    _stop_bridge: 2,
    _away: 1,
    _trouble: 3,
    _refuse: 2,
    _restart_nats: 1,
    _answer: 2,
}
_FAULTS = [fault for fault, weight in _WEIGHTS.items() for _ in range(weight)]
_FAULTS_OF_HOLDS = [_kill_worker, _stop_worker, _stop_worker, _leave_worker, _away, _trouble, _refuse]


def _short(argument: Any) -> str:
    if isinstance(argument, float):
        return f"{argument:.3f}"
    if not isinstance(argument, bytes):
        return repr(argument)
    try:
        events = json.loads(argument)
    except ValueError:
        return repr(argument)
    return " + ".join(event["id"] for event in (events if isinstance(events, list) else [events]))
