"""The audit index: what became of an event, from any point of the topic on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tables.audit_record import AuditRecord, Outcome
from tables.index import AuditIndex


@pytest.fixture
def index(tmp_path: Path) -> Iterator[AuditIndex]:
    index = AuditIndex(tmp_path / "gateway" / "audit.sqlite")
    yield index
    index.close()


def audit(seq: int, outcome: Outcome = Outcome.ACCEPTED, **fields: str) -> bytes:
    given = {"artifact": "chart/a", "principal": "c24", "source": "urn:s", "event_id": "e1"} | fields
    return msgspec.json.encode(AuditRecord(f"id-{seq}", seq, 1000 + seq, outcome, **given))


def test_by_event(index: AuditIndex) -> None:
    """An event is found by source and id, oldest outcome first; another source with the same id is another event."""
    index.apply_audit(0, 3, [audit(0), audit(1, Outcome.DUPLICATE), audit(2, source="urn:other")])
    assert [record.outcome for record in index.by_event("urn:s", "e1")] == ["accepted", "duplicate"]
    assert [record.seq for record in index.by_event("urn:other", "e1")] == [2]
    assert index.by_event("urn:s", "e2") == []


def test_by_event_of_a_principal(index: AuditIndex) -> None:
    """Given a principal, only its events are told."""
    index.apply_audit(0, 2, [audit(0), audit(1, principal="c4")])
    assert [record.seq for record in index.by_event("urn:s", "e1", principal="c4")] == [1]


def test_by_artifact(index: AuditIndex) -> None:
    """An artifact's records come newest first, bounded."""
    index.apply_audit(0, 4, [audit(0), audit(1), audit(2, artifact="chart/b"), audit(3)])
    assert [record.seq for record in index.by_artifact("chart/a", limit=2)] == [3, 1]


def test_positions(index: AuditIndex) -> None:
    """Each partition knows the next offset to read and the next sequence number of its chain."""
    assert (index.next_offset(0), index.next_seq(0)) == (0, 0)
    index.apply_audit(0, 7, [audit(4), audit(5)])
    index.apply_audit(1, 2, [])
    assert (index.next_offset(0), index.next_seq(0)) == (7, 6)
    assert (index.next_offset(1), index.next_seq(1)) == (2, 0)
    index.apply_audit(0, 8, [])  # a commit marker
    assert (index.next_offset(0), index.next_seq(0)) == (8, 6)


def test_applied_again(index: AuditIndex) -> None:
    """A batch that was applied before changes nothing, counts included."""
    batch = [audit(0), audit(1, Outcome.REFUSED)]
    index.apply_audit(0, 3, batch)
    index.apply_audit(0, 3, batch)
    assert index.outcomes() == {"accepted": 1, "refused": 1}


def test_survives(tmp_path: Path) -> None:
    """What was applied is there in the next process, positions included."""
    first = AuditIndex(tmp_path / "audit.sqlite")
    first.apply_audit(0, 1, [audit(0)])
    first.close()
    second = AuditIndex(tmp_path / "audit.sqlite")
    assert (second.next_offset(0), len(second.by_event("urn:s", "e1")), second.outcomes()["accepted"]) == (1, 1, 1)
    second.close()


@pytest.mark.parametrize("damage", ["garbage", "other version"])
def test_damaged_file(tmp_path: Path, damage: str) -> None:
    """A file that is damaged or of another version is made anew, to be filled from the topic's beginning."""
    path = tmp_path / "audit.sqlite"
    first = AuditIndex(path)
    first.apply_audit(0, 1, [audit(0)])
    first.close()
    if damage == "garbage":
        path.write_bytes(b"not a database" * 1000)
    else:
        other = sqlite3.connect(path)
        other.execute("PRAGMA user_version = 999")
        other.close()
    second = AuditIndex(path)
    assert (second.next_offset(0), second.by_event("urn:s", "e1")) == (0, [])
    second.apply_audit(0, 1, [audit(0)])
    assert len(second.by_event("urn:s", "e1")) == 1
    second.close()


def test_failed_batch(index: AuditIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that fails in the middle leaves nothing behind, and can be applied after."""

    def broken(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("tables.index.Counter", broken)
        with pytest.raises(RuntimeError):
            index.apply_audit(0, 1, [audit(0)])
    assert (index.next_offset(0), index.by_event("urn:s", "e1")) == (0, [])
    index.apply_audit(0, 1, [audit(0)])
    assert index.outcomes() == {"accepted": 1}


def test_record_that_is_not_understood(index: AuditIndex) -> None:
    """A record of another shape is passed over; those around it are there."""
    index.apply_audit(0, 3, [audit(0), b'{"id": 5}', audit(2)])
    assert [record.seq for record in index.by_event("urn:s", "e1")] == [0, 2]
    assert index.next_offset(0) == 3


def test_reset(index: AuditIndex) -> None:
    """After a reset everything is read again."""
    index.apply_audit(0, 1, [audit(0)])
    index.reset()
    assert (index.next_offset(0), index.outcomes(), index.by_event("urn:s", "e1")) == (0, {}, [])
