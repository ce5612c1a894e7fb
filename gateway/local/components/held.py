"""What an example component has: one SQLite file, so that it survives kill -9. An update that is there already counts as a duplicate."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS updates (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    artifact TEXT NOT NULL,
    generation INTEGER NOT NULL,
    version TEXT NOT NULL,
    digest TEXT,
    late INTEGER NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_artifact ON updates (artifact, generation);
"""
# `late`: a newer generation of the artifact was there before. It stays 0 as long as deliveries come in order.
_TAKE = """
INSERT INTO updates (key, artifact, generation, version, digest, late)
VALUES (:key, :artifact, :generation, :version, :digest,
        EXISTS (SELECT 1 FROM updates WHERE artifact = :artifact AND generation > :generation))
ON CONFLICT (key) DO UPDATE SET repeats = repeats + 1
"""
_COUNTS = "SELECT COUNT(*), COALESCE(SUM(repeats), 0), COALESCE(SUM(late), 0) FROM updates"
_NEWEST = "SELECT artifact, version, digest, MAX(generation) FROM updates GROUP BY artifact ORDER BY artifact"
_VERSIONS = "SELECT artifact, version FROM updates GROUP BY artifact, version ORDER BY artifact, MIN(number)"


class Update(msgspec.Struct, frozen=True):
    """What an example component keeps of a delivery: the extension attributes that SyncMaster adds to an event."""

    key: str
    artifact: str
    generation: int
    version: str
    digest: str | None = None

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> Update:
        """Raises KeyError or ValueError where an attribute is missing or no number."""
        return cls(
            key=attributes["smkey"],
            artifact=attributes["smartifact"],
            generation=int(attributes["smgeneration"]),
            version=attributes["smversion"],
            digest=attributes.get("smdigest"),
        )


class Held:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(directory / "held.sqlite")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def take(self, updates: Iterable[Update]) -> None:
        """All of them are kept when this returns, also if the process is killed then."""
        with self._db:
            self._db.executemany(_TAKE, [msgspec.structs.asdict(update) for update in updates])

    def summary(self) -> dict[str, Any]:
        """`held`: the newest generation of each artifact; `versions`: those of each artifact, in the order in which they came first."""
        received, duplicates, late = self._db.execute(_COUNTS).fetchone()
        versions: dict[str, list[str]] = {}
        for artifact, version in self._db.execute(_VERSIONS):
            versions.setdefault(artifact, []).append(version)
        return {
            "held": {
                artifact: {"version": version, "digest": digest, "generation": generation}
                for artifact, version, digest, generation in self._db.execute(_NEWEST)
            },
            "received": received,
            "duplicates": duplicates,
            "late": late,
            "versions": versions,
        }

    def close(self) -> None:
        self._db.close()
