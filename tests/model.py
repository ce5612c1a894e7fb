"""What the state must be, told a second time and as simply as possible: a replay of the committed input, turn by turn. For tests only.

Nothing of the engine is used here: no codec, no fold, no routing. The input is what the log holds; which record belongs to which turn
is what the markers say: commands first, then receipts, then events, as each turn takes them. It knows the events that `tests/loads.py`
makes, and the shape of the example's routes.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from streams.settings import Settings
from tests.readings import Readings, came_from, ingress_of

_PURL = re.compile(r"pkg:generic/([^@?]+)@([^?]+)\?checksum=(sha256:[0-9a-f]{64})")


@dataclass
class Pair:
    desired: int = 0
    version: str = ""


@dataclass
class Artifact:
    version: str = ""
    digest: str = ""
    action: str = ""
    generation: int = 0
    accepted: int = 0
    newest: str = ""
    versions: dict[str, tuple[int, str, str]] = field(default_factory=dict)  # version -> generation, digest, action
    bodies: dict[str, bytes] = field(default_factory=dict)
    sync: dict[str, Pair] = field(default_factory=dict)
    taken: set[tuple[str, str, str]] = field(default_factory=set)


@dataclass
class Lot:
    """What waits of one artifact: records of [events]."""

    front: Any = None
    waived: tuple[str, ...] = ()
    queue: list[Any] = field(default_factory=list)
    discarded: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def waiting(self) -> list[Any]:
        return [*([] if self.front is None else [self.front]), *self.queue]

    def has_room(self, record: Any) -> bool:
        return len(self.queue) < 1000 and sum(len(waiting.value) for waiting in self.queue) + len(record.value) <= 1 << 20


@dataclass(frozen=True)
class Verdict:
    """What must become of an event when it arrives, or when it comes out of quarantine. `id` is that of the audit record."""

    id: str
    outcome: str
    generation: int = 0


class Model:
    """`replay` once; then everything else is the answer."""

    def __init__(self, settings: Settings) -> None:
        self._routes = [
            (pattern, component, route.mode, route.newest)
            for route in settings.routes
            for pattern in route.match.artifacts
            for component in route.to
        ]
        self._grants = {
            name: [
                (glob, artifacts)
                for binding in settings.bindings
                if name in binding.principals or set(principal.groups) & set(binding.groups)
                for rule in settings.roles[binding.role].rules
                if "publish" in rule.verbs
                for glob in rule.types or ("*",)
                for artifacts in rule.artifacts or ("*",)
            ]
            for name, principal in settings.principals.items()
        }
        self._parks = [
            (policy.name, policy.sources.deny)
            for policy in settings.policies
            if policy.kind == "allow_deny" and policy.action == "quarantine"
        ]
        self.artifacts: dict[str, Artifact] = {}
        self.verdicts: list[Verdict] = []
        self.quarantined: dict[str, bytes] = {}  # by where it came from
        self._lots: dict[int, defaultdict[str, Lot]] = {}
        self.marks: dict[int, dict[str, tuple[int, int, int]]] = {}
        self.log: dict[str, list[tuple[str, int, str]]] = {}  # component -> what each change of its pairs desired

    def replay(self, readings: Readings) -> Model:
        for partition in readings.partitions:
            self.marks[partition] = {}
            self._lots[partition] = defaultdict(Lot)
            events, commands = iter(readings.events[partition]), iter(readings.commands[partition])
            at_event = at_command = 0
            for marker in readings.markers[partition]:
                self._turn, self._released = marker.turn, 0
                while at_command < marker.commands:
                    at_command = self._command(partition, next(commands), readings) + 1
                self._drain(partition)
                while at_event < marker.events:
                    at_event = self._event(partition, next(events)) + 1
        return self

    def _command(self, partition: int, record: Any, readings: Readings) -> int:
        command = json.loads(record.value)
        key = record.key.decode()
        if command["verb"].startswith("quarantine."):
            self._decide(partition, key, command, readings)
        elif command["verb"] == "sync":
            self._sync(key, command)
        return int(record.offset)

    def _sync(self, key: str, command: dict[str, Any]) -> None:
        artifact = self.artifacts.get(key)
        wanted = [route for route in self._targets(key) if command.get("component", "") in ("", route[1])]
        if artifact is not None and wanted:
            artifact.generation += 1
            for _, component, _, newest in wanted:
                pair = artifact.sync.setdefault(component, Pair())
                pair.desired = artifact.generation
                pair.version = pair.version or (artifact.newest if newest == "semver" else artifact.version)
                self.log.setdefault(component, []).append((key, pair.desired, pair.version))

    def _decide(self, partition: int, key: str, command: dict[str, Any], readings: Readings) -> None:
        """Release or discard. The entry is known by its number in the audit, or by its offset."""
        place = int(command["subject"].rpartition("-")[2])
        is_parked = command["subject"].startswith("parked-")
        events = readings.events[partition]
        came = readings.audit[partition][place].record.ingress if is_parked else came_from(events[place - events[0].offset])
        lot, releases = self._lots[partition][key], command["verb"] == "quarantine.release"
        record = next((waiting for waiting in lot.waiting if came_from(waiting) == came), None)
        if not is_parked and came in self.quarantined:
            if releases:
                self._tell_released(partition, "quarantined", 0)  # garbage stays garbage
            else:
                del self.quarantined[came]
        elif record is not None and not releases:
            del self.quarantined[came]
            lot.discarded.add(_name(record))
            lot.front, lot.queue = None if record is lot.front else lot.front, [r for r in lot.queue if r is not record]
        elif record is not None and record is lot.front:
            lot.front = None
            rule = self._rule(record, lot.waived)
            self._again(partition, record, (*lot.waived, *([rule] if rule else [])))

    def _drain(self, partition: int) -> None:
        draining = sorted(key for key, lot in self._lots[partition].items() if lot.front is None and lot.queue)
        for key in draining:
            lot = self._lots[partition][key]
            for _ in range(min(len(lot.queue), 200 // len(draining))):
                if lot.front is None:
                    self._again(partition, lot.queue.pop(0), ())

    def _again(self, partition: int, record: Any, waived: tuple[str, ...]) -> None:
        self.quarantined.pop(came_from(record))
        self._tell_released(partition, *self._judge(partition, record, waits=False, waived=waived))

    def _tell_released(self, partition: int, outcome: str, generation: int) -> None:
        self.verdicts.append(Verdict(f"release-{partition}-{self._turn}-{self._released}", outcome, generation))
        self._released += 1

    def _rule(self, record: Any, waived: tuple[str, ...]) -> str | None:
        """The first policy that parks it."""
        source = json.loads(record.value)["source"]
        found = (name for name, sources in self._parks if name not in waived and any(fnmatchcase(source, p) for p in sources))
        return next(found, None)

    def _event(self, partition: int, record: Any) -> int:
        ingress = ingress_of(record)
        if ingress.mark > self.marks[partition].get(ingress.stream, (0, 0, 0)):
            self.marks[partition][ingress.stream] = ingress.mark
            self.verdicts.append(Verdict(f"events-{partition}-{record.offset}", *self._judge(partition, record)))
        return int(record.offset)

    def _judge(self, partition: int, record: Any, *, waits: bool = True, waived: tuple[str, ...] = ()) -> tuple[str, int]:
        key, principal = record.key.decode(), ingress_of(record).principal
        try:
            event = json.loads(record.value)
            match = _PURL.fullmatch(event["data"]["subject"]["id"])
            assert match is not None
        except (ValueError, KeyError, TypeError):
            self.quarantined[came_from(record)] = record.value
            return "quarantined", 0
        version, digest, action = match[2], match[3], event["type"].split(".")[3]
        artifact = self.artifacts.get(key)
        name, lot = _name(record), self._lots[partition][key]
        if name in lot.discarded or (artifact is not None and name in artifact.taken):
            return "duplicate", 0
        if not any(fnmatchcase(event["type"], t) and fnmatchcase(key, a) for t, a in self._grants[principal]):
            return "refused", 0
        if waits and lot.waiting:
            return self._queue(lot, record)
        if self._rule(record, waived) is not None:
            lot.front, lot.waived = record, waived
            self.quarantined[came_from(record)] = record.value
            return "quarantined", 0
        artifact = self.artifacts.setdefault(key, Artifact())
        artifact.taken.add(name)
        self._fold(key, artifact, version, digest, action)
        artifact.bodies[version] = record.value
        return "accepted", artifact.generation

    def _queue(self, lot: Lot, record: Any) -> tuple[str, int]:
        if _name(record) in map(_name, lot.waiting):
            return "duplicate", 0
        if not lot.has_room(record):
            return "refused", 0
        lot.queue.append(record)
        self.quarantined[came_from(record)] = record.value
        return "quarantined", 0

    def _fold(self, key: str, artifact: Artifact, version: str, digest: str, action: str) -> None:
        artifact.generation += 1
        artifact.accepted += 1
        artifact.versions[version] = (artifact.generation, digest, action)
        alive = [name for name, (_, _, how) in artifact.versions.items() if how != "deleted"]
        artifact.newest = max(alive, key=lambda name: tuple(map(int, name.split("."))), default="")
        leads = action not in ("signed", "deleted") or version == artifact.version or artifact.generation == 1
        if leads:
            artifact.version, artifact.digest, artifact.action = version, digest, action
        for _, component, mode, newest in self._targets(key):
            wanted = (artifact.newest or artifact.version) if (mode, newest) == ("latest", "semver") else version
            pair = artifact.sync.get(component)
            moved = pair is None or pair.version != wanted or wanted == version
            if mode == "every" or (leads if newest == "accepted" else moved):
                artifact.sync[component] = Pair(artifact.generation, wanted)
                self.log.setdefault(component, []).append((key, artifact.generation, wanted))

    def _targets(self, key: str) -> list[tuple[str, str, str, str]]:
        return [route for route in self._routes if fnmatchcase(key, route[0])]


def _name(record: Any) -> tuple[str, str, str]:
    event = json.loads(record.value)
    return ingress_of(record).principal, event["source"], event["id"]
