"""What the state must be, told a second time and as simply as possible: a replay of the committed input, turn by turn. For tests only.

Nothing of the engine is used here: no codec, no fold, no routing. The input is what the log holds; which record belongs to which turn
is what the markers say: commands first, then receipts, then events, as each turn takes them. It knows the events that `tests/loads.py`
makes, and the shape of the example's routes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from streams.settings import Settings
from tests.readings import Readings, ingress_of

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


@dataclass(frozen=True)
class Verdict:
    """What must become of one record of [events]."""

    partition: int
    offset: int
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
        self.artifacts: dict[str, Artifact] = {}
        self.verdicts: list[Verdict] = []
        self.quarantined: dict[tuple[int, int], bytes] = {}
        self.marks: dict[int, dict[str, tuple[int, int, int]]] = {}
        self.log: dict[str, list[tuple[str, int, str]]] = {}  # component -> what each change of its pairs desired

    def replay(self, readings: Readings) -> Model:
        for partition in readings.partitions:
            self.marks[partition] = {}
            events, commands = iter(readings.events[partition]), iter(readings.commands[partition])
            at_event = at_command = 0
            for marker in readings.markers[partition]:
                while at_command < marker.commands:
                    at_command = self._command(next(commands)) + 1
                while at_event < marker.events:
                    at_event = self._event(partition, next(events)) + 1
        return self

    def _command(self, record: Any) -> int:
        command = json.loads(record.value)
        key = record.key.decode()
        artifact = self.artifacts.get(key)
        wanted = [route for route in self._targets(key) if command.get("component", "") in ("", route[1])]
        if artifact is not None and wanted:
            artifact.generation += 1
            for _, component, _, newest in wanted:
                pair = artifact.sync.setdefault(component, Pair())
                pair.desired = artifact.generation
                pair.version = pair.version or (artifact.newest if newest == "semver" else artifact.version)
                self.log.setdefault(component, []).append((key, pair.desired, pair.version))
        return int(record.offset)

    def _event(self, partition: int, record: Any) -> int:
        ingress = ingress_of(record)
        if ingress.mark > self.marks[partition].get(ingress.stream, (0, 0, 0)):
            self.marks[partition][ingress.stream] = ingress.mark
            outcome, generation = self._judge(partition, record, ingress.principal)
            self.verdicts.append(Verdict(partition, record.offset, outcome, generation))
        return int(record.offset)

    def _judge(self, partition: int, record: Any, principal: str) -> tuple[str, int]:
        key = record.key.decode()
        try:
            event = json.loads(record.value)
            match = _PURL.fullmatch(event["data"]["subject"]["id"])
            assert match is not None
        except (ValueError, KeyError, TypeError):
            self.quarantined[partition, record.offset] = record.value
            return "quarantined", 0
        version, digest, action = match[2], match[3], event["type"].split(".")[3]
        artifact = self.artifacts.get(key)
        name = (principal, event["source"], event["id"])
        if artifact is not None and name in artifact.taken:
            return "duplicate", 0
        if not any(fnmatchcase(event["type"], t) and fnmatchcase(key, a) for t, a in self._grants[principal]):
            return "refused", 0
        artifact = self.artifacts.setdefault(key, Artifact())
        artifact.taken.add(name)
        self._fold(key, artifact, version, digest, action)
        artifact.bodies[version] = record.value
        return "accepted", artifact.generation

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
