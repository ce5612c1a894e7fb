"""What became of my event: the audit topic, indexed in one SQLite file beside the replica. Who follows the topic: the composition.

The file is a cache of the topic. Invariant: a batch's rows, its counts and the partition's next offset are one transaction, so
a batch is either in all of them or in none, and one that is applied again changes nothing. A file that is damaged, or was
written by another version of this module, is deleted and filled again from the topic's beginning.

Text search will be one more table, filled where `_insert` fills `records`; raise `_VERSION` with it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import structlog

from tables.audit_record import AuditRecord

_log = structlog.get_logger(__name__)
_VERSION = 1
_SCHEMA = """
CREATE TABLE records (
    partition INTEGER NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL, outcome TEXT NOT NULL, artifact TEXT NOT NULL,
    principal TEXT NOT NULL, source TEXT NOT NULL, event_id TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (partition, seq)
) WITHOUT ROWID;
CREATE INDEX records_event ON records (event_id, source) WHERE event_id != '';
CREATE INDEX records_artifact ON records (artifact, at_ms);
CREATE TABLE counts (outcome TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE offsets (partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL, next_seq INTEGER NOT NULL);
"""
_decode = msgspec.json.Decoder(AuditRecord).decode


class AuditIndex:
    """Blocking and thread-safe: one connection behind one lock. A query takes well under a millisecond, a batch of 500 about six."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as exc:
            _log.warning("audit index is made anew", path=str(path), reason=str(exc))
            for leftover in path.parent.glob(path.name + "*"):
                leftover.unlink()
            self._db = _open(path)

    def apply_audit(self, partition: int, next_offset: int, values: list[bytes]) -> None:
        """Take in the records below `next_offset` of the partition that were not there yet, in log order."""
        records = list(_decodable(values))
        with self._lock, self._transaction():
            if next_offset <= self._position(partition)[0]:
                return
            self._insert(partition, records)
            next_seq = max((record.seq + 1 for record, _ in records), default=self._position(partition)[1])
            self._db.execute("REPLACE INTO offsets VALUES (?, ?, ?)", (partition, next_offset, next_seq))

    def next_offset(self, partition: int) -> int:
        """The first offset that has not been applied."""
        with self._lock:
            return self._position(partition)[0]

    def next_seq(self, partition: int) -> int:
        """The first sequence number of the partition's audit chain that has not been applied; compare with Marker.audit_seq."""
        with self._lock:
            return self._position(partition)[1]

    def by_event(self, source: str, event_id: str, *, principal: str = "", limit: int = 100) -> list[AuditRecord]:
        """Oldest first. Two principals may use the same source and id; they are two events."""
        return self._read(
            "event_id = ? AND source = ? AND (? = '' OR principal = ?) ORDER BY at_ms, partition, seq LIMIT ?",
            (event_id, source, principal, principal, limit),
        )

    def by_artifact(self, artifact: str, *, limit: int = 100) -> list[AuditRecord]:
        """Newest first."""
        return self._read("artifact = ? ORDER BY at_ms DESC, seq DESC LIMIT ?", (artifact, limit))

    def outcomes(self) -> Counter[str]:
        """How many records of each outcome there are."""
        with self._lock:
            return Counter(dict(self._db.execute("SELECT outcome, n FROM counts")))

    def reset(self) -> None:
        """Forget everything: the topic was made anew, or lost its tail."""
        with self._lock, self._transaction():
            for table in ("records", "counts", "offsets"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 -- names from the line above

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _insert(self, partition: int, records: list[tuple[AuditRecord, bytes]]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (partition, r.seq, r.at_ms, r.outcome.value, r.artifact, r.principal, r.source, r.event_id, value)
                for r, value in records
            ],
        )
        self._db.executemany(
            "INSERT INTO counts VALUES (?, ?) ON CONFLICT (outcome) DO UPDATE SET n = n + excluded.n",
            Counter(record.outcome.value for record, _ in records).items(),
        )

    def _position(self, partition: int) -> tuple[int, int]:
        row = self._db.execute("SELECT next_offset, next_seq FROM offsets WHERE partition = ?", (partition,)).fetchone()
        return row or (0, 0)

    def _read(self, where: str, arguments: tuple[str | int, ...]) -> list[AuditRecord]:
        with self._lock:
            rows = self._db.execute(f"SELECT value FROM records WHERE {where}", arguments).fetchall()  # noqa: S608 -- literals
        return [_decode(value) for (value,) in rows]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last batches, never the file; they are read again
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"written by version {version} of the index, this is {_VERSION}")
        if version == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _decodable(values: Iterable[bytes]) -> Iterator[tuple[AuditRecord, bytes]]:
    for value in values:
        try:
            yield _decode(value), value
        except msgspec.MsgspecError as exc:  # only workers write the topic: one of a later version, perhaps
            _log.warning("audit record is not understood; it stays in the topic", reason=str(exc))
