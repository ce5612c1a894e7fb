"""The audit topic, indexed in one SQLite file beside the replica: what became of my event, and any question of `audit_search.py`.

The file is a cache of the topic; `audit_follower.py` fills it. Invariant: a batch's rows, their words, its counts and the partition's next
offset are one transaction, so a batch is either in all of them or in none, and one that is applied again changes nothing. A file that is
damaged, or was written by another version of this module, is deleted and filled again from the topic's beginning; so is one that
somebody has deleted. Change the tables and raise `_VERSION`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from streams.errors import Refusal
from tables.audit_record import AuditRecord
from tables.audit_search import Question, partition_of_row, row_id, select

_log = structlog.get_logger(__name__)
_VERSION = 2
_SCHEMA = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, outcome TEXT NOT NULL, artifact TEXT NOT NULL, principal TEXT NOT NULL,
    component TEXT NOT NULL, rule TEXT NOT NULL, source TEXT NOT NULL, event_id TEXT NOT NULL, value BLOB NOT NULL
);
CREATE INDEX records_event ON records (event_id, source) WHERE event_id != '';
CREATE INDEX records_artifact ON records (artifact);
CREATE INDEX records_principal ON records (principal) WHERE principal != '';
CREATE INDEX records_rule ON records (rule) WHERE rule != '';
CREATE INDEX records_outcome ON records (outcome) WHERE outcome NOT IN ('accepted', 'delivered');
CREATE VIRTUAL TABLE words USING fts5 (line, content = '', columnsize = 0);
CREATE TABLE counts (outcome TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE offsets (partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL, next_seq INTEGER NOT NULL);
"""
#: A question that takes longer is told to be narrower.
_SEARCH_S_MAX = 3.0
_STEPS_BETWEEN_LOOKS = 20_000
_decode = msgspec.json.Decoder(AuditRecord).decode


class Found(NamedTuple):
    """One record, and its place in pages."""

    row: int
    partition: int
    record: AuditRecord


class AuditIndex:
    """Blocking and thread-safe. Searches have a connection of their own, so that a long one keeps nobody else waiting."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._search_lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(self._path)
        except sqlite3.DatabaseError as exc:
            _log.warning("audit index is made anew", path=str(self._path), reason=str(exc))
            for leftover in self._path.parent.glob(self._path.name + "*"):
                leftover.unlink()
            self._db = _open(self._path)
        self._searching = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._searching.execute("PRAGMA query_only = ON")
        self._inode = self._path.stat().st_ino

    def reopen_if_deleted(self) -> bool:
        """Whether somebody has deleted the file; then there is an empty one now."""
        try:
            if self._path.stat().st_ino == self._inode:
                return False
        except FileNotFoundError:
            pass
        with self._lock, self._search_lock:
            self._close()
            for leftover in self._path.parent.glob(self._path.name + "-*"):
                leftover.unlink()
            self._open()
        return True

    def apply_audit(self, partition: int, next_offset: int, values: list[bytes]) -> None:
        """Take in the records below `next_offset` of the partition that were not there yet, in log order."""
        records = list(_decodable(partition, values))
        with self._lock, self._transaction():
            if next_offset <= self._position(partition)[0]:
                return
            next_seq = self._position(partition)[1]
            self._insert([row for row in records if row.record.seq >= next_seq or not self._has(row.row)])
            next_seq = max((row.record.seq + 1 for row in records), default=next_seq)
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
            "event_id = ? AND source = ? AND (? = '' OR principal = ?) ORDER BY id LIMIT ?",
            (event_id, source, principal, principal, limit),
        )

    def by_artifact(self, artifact: str, *, limit: int = 100) -> list[AuditRecord]:
        """Newest first."""
        return self._read("artifact = ? ORDER BY id DESC LIMIT ?", (artifact, limit))

    def search(self, question: Question, *, before: int | None = None, limit: int = 100) -> list[Found]:
        """Newest first, from before a row of an earlier page. Raises Refusal when it takes too long to answer."""
        statement, arguments = select(question, before, limit)
        with self._search_lock:
            deadline_s = time.monotonic() + _SEARCH_S_MAX
            self._searching.set_progress_handler(lambda: time.monotonic() > deadline_s, _STEPS_BETWEEN_LOOKS)
            try:
                rows = self._searching.execute(statement, arguments).fetchall()
            except sqlite3.OperationalError:
                if time.monotonic() <= deadline_s:  # the full-text part says in words of its own that it was interrupted
                    raise
                told = f"the question takes longer than {_SEARCH_S_MAX:g} s; narrow it, by artifact, principal or time"
                raise Refusal("audit.too_broad", told) from None
        return [Found(row, partition_of_row(row), _decode(value)) for row, value in rows]

    def outcomes(self) -> Counter[str]:
        """How many records of each outcome there are."""
        with self._lock:
            return Counter(dict(self._db.execute("SELECT outcome, n FROM counts")))

    def reset(self) -> None:
        """Forget everything: the topic was made anew, or lost its tail."""
        with self._lock, self._transaction():
            for table in ("records", "counts", "offsets"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 -- names from the line above
            self._db.execute("INSERT INTO words (words) VALUES ('delete-all')")

    def close(self) -> None:
        with self._lock, self._search_lock:
            self._close()

    def _close(self) -> None:
        self._searching.close()
        self._db.close()

    def _insert(self, rows: list[_Row]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (row, r.at_ms, r.outcome.value, r.artifact, r.principal, r.component, r.rule, r.source, r.event_id, value)
                for row, r, value in rows
            ],
        )
        self._db.executemany("INSERT INTO words (rowid, line) VALUES (?, ?)", [(row, _line(r)) for row, r, _ in rows])
        self._db.executemany(
            "INSERT INTO counts VALUES (?, ?) ON CONFLICT (outcome) DO UPDATE SET n = n + excluded.n",
            Counter(row.record.outcome.value for row in rows).items(),
        )

    def _has(self, row: int) -> bool:
        return self._db.execute("SELECT 1 FROM records WHERE id = ?", (row,)).fetchone() is not None

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


class _Row(NamedTuple):
    row: int
    record: AuditRecord
    value: bytes


def _decodable(partition: int, values: Iterable[bytes]) -> Iterator[_Row]:
    for value in values:
        try:
            record = _decode(value)
        except msgspec.MsgspecError as exc:  # only workers write the topic: one of a later version, perhaps
            _log.warning("audit record is not understood; it stays in the topic", reason=str(exc))
            continue
        yield _Row(row_id(record.at_ms, partition, record.seq), record, value)


def _line(r: AuditRecord) -> str:
    """What a text is looked for in."""
    told = (r.outcome.value, r.artifact, r.principal, r.remote, r.source, r.event_id, r.type, r.version, r.digest, r.component)
    return " ".join(filter(None, (*told, r.code, r.detail, r.rule, r.command, r.trace, r.config)))
