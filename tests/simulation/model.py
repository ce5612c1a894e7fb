"""One partition's state as the committed input says it should be.

Computed from that alone, in the order that the committed markers record; it shares no code with the engine but the decoder of events.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from streams.codec import decode_event
from streams.commands import Command
from streams.errors import Malformed
from streams.events import Action, Event, Incoming
from streams.ingress import HEADER, Ingress
from tables.audit_record import Outcome
from tables.model import Marker
from tests.simulation.committed import audit_of, ingress_of, markers_of
from tests.simulation.world import World

#: In place of the engine's, so that queues of a few events take several turns. No fewer than the artifacts that may be parked.
DRAINED_PER_TURN_MAX = 3


class _Artifact:
    def __init__(self) -> None:
        self.generation = 0
        self.version = ""
        self.accepted = 0
        self.taken: set[tuple[str, str, str]] = set()
        self.versions: dict[str, int] = {}


class _Lot:
    """What waits of one artifact: events, each with where it came from."""

    def __init__(self) -> None:
        self.front: tuple[Event, Ingress] | None = None
        self.queue: list[tuple[Event, Ingress]] = []
        self.discarded: set[tuple[str, str, str]] = set()


class Model:
    """One partition's state and outcomes, from its input."""

    def __init__(self, world: World, partition: int) -> None:
        self._world = world
        self.artifacts: dict[str, _Artifact] = {}
        self.outcomes: list[tuple[str, str, int]] = []  # id, outcome, generation
        #: Generations that each component has ever desired, for those that take the newest accepted or every version.
        self.desired: dict[str, list[tuple[str, int]]] = {"every": [], "latest": [], "logged": []}
        self.lots: dict[str, _Lot] = defaultdict(_Lot)
        self._audit = audit_of(world, partition)
        self._turn = self._released = 0
        self._marks: dict[str, Any] = {}
        self._partition = partition
        if world.log_has_lost:
            self._replay_as_judged()
        else:
            self._replay_as_committed()

    def _replay_as_committed(self) -> None:
        """In the order that the markers record."""
        events = self._world.committed(self._world.topics.events, self._partition)
        commands = self._world.committed(self._world.topics.commands, self._partition)
        before = Marker()
        for marker in markers_of(self._world, self._partition):
            self._turn, self._released = marker.turn, 0
            for record in commands[before.commands : marker.commands]:
                command = msgspec.json.decode(record.value, type=Command)
                ident, key = f"commands-{self._partition}-{record.offset}", record.key.decode()
                if command.verb == "sync":
                    self._command(ident, key, command.component)
                else:
                    self._decide(ident, self.lots[key], command)
            self._drain()
            goes_back = marker.events < before.events  # what was taken before has no effect
            for record in events[0 if goes_back else before.events : marker.events]:
                self._event(f"events-{self._partition}-{record.offset}", record)
            before = marker

    def _replay_as_judged(self) -> None:
        """A log that lost its tail may have its records in another order now than when they were judged. The audit has that order."""
        events = {dict(r.headers)[HEADER].decode(): r for r in self._world.committed(self._world.topics.events, self._partition)}
        for told in audit_of(self._world, self._partition):
            if told.outcome is Outcome.COMMAND:
                self._command(told.id, told.artifact, told.component)
            elif told.ingress:
                self._event(told.id, events[told.ingress])

    def _command(self, ident: str, key: str, component: str) -> None:
        artifact = self.artifacts.get(key)
        if artifact is not None:
            artifact.generation += 1
            for commanded in self.desired.keys() & ({component} if component else self.desired.keys()):
                self.desired[commanded].append((key, artifact.generation))
        self.outcomes.append((ident, "command", artifact.generation if artifact else 0))

    def _decide(self, ident: str, lot: _Lot, command: Command) -> None:
        """The entry is known by its number in the audit. Whatever is released was parked by the one policy there is."""
        self.outcomes.append((ident, "command", 0))
        told = Ingress.decode(self._audit[int(command.subject.rpartition("-")[2])].ingress.encode())
        found = next((each for each in [lot.front, *lot.queue] if each is not None and each[1] == told), None)
        if found is None or (found is not lot.front and command.verb == "quarantine.release"):
            return
        if found is lot.front:
            lot.front = None
        else:
            lot.queue.remove(found)
        if command.verb == "quarantine.discard":
            lot.discarded.add(_name(*found))
        else:
            self._again(found, waived=True)

    def _drain(self) -> None:
        draining = [lot for _, lot in sorted(self.lots.items()) if lot.front is None and lot.queue]
        for lot in draining:
            for _ in range(min(len(lot.queue), DRAINED_PER_TURN_MAX // len(draining))):
                if lot.front is None:
                    self._again(lot.queue.pop(0), waived=False)

    def _again(self, waiting: tuple[Event, Ingress], *, waived: bool) -> None:
        outcome = self._judged(*waiting, waits=False, waived=waived)
        self.outcomes.append((f"release-{self._partition}-{self._turn}-{self._released}", *outcome))
        self._released += 1

    def _event(self, ident: str, record: Any) -> None:
        ingress = ingress_of(record)
        if ingress.mark <= self._marks.get(ingress.stream, (0, 0, 0)):
            return
        self._marks[ingress.stream] = ingress.mark
        headers = {name: value.decode() for name, value in record.headers if name != HEADER}
        try:
            event = decode_event(Incoming(record.value, headers), self._world.settings.limits)
        except Malformed:
            self.outcomes.append((ident, "quarantined", 0))
            return
        self.outcomes.append((ident, *self._judged(event, ingress)))

    def _judged(self, event: Event, ingress: Ingress, *, waits: bool = True, waived: bool = False) -> tuple[str, int]:
        key, artifact = event.artifact.key, self.artifacts.get(event.artifact.key)
        name, lot = _name(event, ingress), self.lots[key]
        if (artifact is not None and name in artifact.taken) or name in lot.discarded:
            return "duplicate", 0
        if ingress.principal == "c4" and key != "chart/shared":
            return "refused", 0
        if waits and (lot.front is not None or lot.queue):
            if name in {_name(*each) for each in [lot.front, *lot.queue] if each is not None}:
                return "duplicate", 0
            lot.queue.append((event, ingress))
            return "quarantined", 0
        if self._world.settings.policies and event.source == "urn:parked" and not waived:
            lot.front = (event, ingress)
            return "quarantined", 0
        artifact = self.artifacts.setdefault(key, _Artifact())
        artifact.generation += 1
        artifact.accepted += 1
        artifact.taken.add(name)
        artifact.versions[event.artifact.version] = artifact.generation
        if event.artifact.action is not Action.DELETED or artifact.version in {"", event.artifact.version}:
            artifact.version = event.artifact.version
        leads = event.artifact.action is not Action.DELETED or artifact.version == event.artifact.version
        for component, desired in self.desired.items():
            if leads or component == "every":
                desired.append((key, artifact.generation))
        return "accepted", artifact.generation


def _name(event: Event, ingress: Ingress) -> tuple[str, str, str]:
    return ingress.principal, event.source, event.id
