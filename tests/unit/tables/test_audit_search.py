"""Questions about the audit: filters, text that is never syntax, order and pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.errors import Refusal
from tables import index as index_module
from tables.audit_record import AuditRecord, Outcome
from tables.audit_search import Question, match, partition_of_row, row_id
from tables.index import AuditIndex

HOUR_MS = 3_600_000
NOW_MS = 1_795_000_000_000


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditIndex]:
    """Two partitions; a record every hour, the newest last."""
    index = AuditIndex(tmp_path_factory.mktemp("index") / "audit.sqlite")
    index.apply_audit(0, 5, [
        record(0, Outcome.ACCEPTED, "chart/argo-cd", "c24", digest="sha256:abcdef0123"),
        record(2, Outcome.REFUSED, "chart/argo-cd", "c4", rule="freeze-prod", code="policy.frozen", detail="frozen until Monday"),
        record(4, Outcome.DELIVERED, "chart/argo-cd", component="c20"),
        record(6, Outcome.COMMAND, "gateway/alice", "alice", remote="192.0.2.7", detail='said "stop" AND NOT*'),
        record(8, Outcome.CONFIGURATION, ""),
    ])  # fmt: skip
    index.apply_audit(1, 2, [
        record(1, Outcome.ACCEPTED, "image/a[1]?", "c4"),
        record(3, Outcome.ACCEPTED, "image/argo", "c4", trace="0af7651916cd43dd8448eb211c80319c"),
    ])  # fmt: skip
    yield index
    index.close()


def record(hour: int, outcome: Outcome, artifact: str, principal: str = "", **fields: str) -> bytes:
    return msgspec.json.encode(
        AuditRecord(f"id-{hour}", hour, NOW_MS + hour * HOUR_MS, outcome, artifact, principal=principal, **fields)
    )


def hours(index: AuditIndex, **question: str | int) -> list[int]:
    return [found.record.seq for found in index.search(Question(**question))]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({}, [8, 6, 4, 3, 2, 1, 0]),
        ({"artifact": "chart/argo-cd"}, [4, 2, 0]),
        ({"artifact": "image/*"}, [3, 1]),
        ({"artifact": "*argo*"}, [4, 3, 2, 0]),
        ({"artifact": "image/a[1]?*"}, [1]),
        ({"principal": "c4"}, [3, 2, 1]),
        ({"outcome": "refused"}, [2]),
        ({"rule": "freeze-prod"}, [2]),
        ({"component": "c20"}, [4]),
        ({"since_ms": NOW_MS + 3 * HOUR_MS}, [8, 6, 4, 3]),
        ({"until_ms": NOW_MS + 3 * HOUR_MS}, [2, 1, 0]),
        ({"since_ms": NOW_MS + 2 * HOUR_MS, "until_ms": NOW_MS + 2 * HOUR_MS + 1}, [2]),
        ({"text": "frozen"}, [2]),
        ({"text": "froz monday"}, [2]),
        ({"text": "FROZEN c24"}, []),
        ({"text": "sha256:abcdef"}, [0]),
        ({"text": "argo-cd", "principal": "c24"}, [0]),
        ({"text": "argo", "until_ms": NOW_MS + HOUR_MS}, [0]),
        ({"text": "192.0.2.7"}, [6]),
        ({"text": "0af7651916cd43dd8448eb211c80319c"}, [3]),
        ({"text": 'said "stop" AND NOT*'}, [6]),
        ({"text": "***"}, []),
    ],
    ids=str,
)
def test_questions(index: AuditIndex, question: dict[str, str | int], expected: list[int]) -> None:
    """All that is asked for holds of what is found, newest first, across partitions."""
    assert hours(index, **question) == expected


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60) | st.text('"*^():-+{}NEARANDOT \0\n', max_size=60))
def test_text_is_never_syntax(index: AuditIndex, text: str) -> None:
    """Whatever is looked for, the answer is records or none, never an error."""
    hours(index, text=text)
    hours(index, artifact=text, text=text)


def test_many_words() -> None:
    """Words beyond a bound are not looked for."""
    assert match("x " * 1000).count('"x"*') == 16


def test_pages(index: AuditIndex) -> None:
    """Page after page gives each record once, in order."""
    for question in (Question(), Question(text="c4")):
        everything = [found.row for found in index.search(question)]
        pages: list[int] = []
        while found := index.search(question, before=pages[-1] if pages else None, limit=2):
            pages += [each.row for each in found]
        assert pages == everything


def test_too_broad(index: AuditIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that takes too long is refused, with what to do."""
    monkeypatch.setattr(index_module, "_SEARCH_S_MAX", -1.0)
    monkeypatch.setattr(index_module, "_STEPS_BETWEEN_LOOKS", 1)
    with pytest.raises(Refusal, match="narrow it"):
        index.search(Question(text="argo"))


@given(st.integers(0, 4 * 10**12), st.integers(0, 1023), st.integers(0, 2**21 - 1))
def test_row_ids(at_ms: int, partition: int, seq: int) -> None:
    """A row id fits SQLite's integer, is ordered by time, and tells its partition."""
    row = row_id(at_ms, partition, seq)
    assert 0 <= row < 2**63
    assert partition_of_row(row) == partition
    assert row < row_id(at_ms + 1000, 0, 0)


def test_deleted_file(tmp_path: Path) -> None:
    """When somebody deletes the file under a running gateway, there is an empty index, to be filled from the beginning."""
    path = tmp_path / "audit.sqlite"
    index = AuditIndex(path)
    index.apply_audit(0, 1, [record(0, Outcome.ACCEPTED, "chart/a")])
    assert not index.reopen_if_deleted()
    path.unlink()
    assert index.reopen_if_deleted()
    assert (index.next_offset(0), index.search(Question())) == (0, [])
    index.apply_audit(0, 1, [record(0, Outcome.ACCEPTED, "chart/a")])
    assert len(index.search(Question(text="chart"))) == 1
    index.close()


def test_words_are_forgotten(tmp_path: Path) -> None:
    """After a reset no text is found, until it is read again."""
    index = AuditIndex(tmp_path / "audit.sqlite")
    batch = [record(0, Outcome.ACCEPTED, "chart/a")]
    index.apply_audit(0, 1, batch)
    index.reset()
    assert index.search(Question(text="chart")) == []
    index.apply_audit(0, 1, batch)
    assert len(index.search(Question(text="chart"))) == 1
    index.close()
