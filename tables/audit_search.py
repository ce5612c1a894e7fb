"""Questions about the audit, as SQL over the index: a page of records, newest first. The tables they are asked of: `index.py`.

A record's row id is made of its second, its partition and its place in the chain, so that order by id is order by time, in the table and in
the text index alike: a page costs what is looked at from its beginning on, not what there is. Text is never FTS5 syntax.
"""

from __future__ import annotations

import re

import msgspec

_PARTITION_BITS, _SEQ_BITS = 10, 21
_SECOND_BITS = _PARTITION_BITS + _SEQ_BITS
_SECONDS_MAX = 2**32 - 1
_WORDS_MAX = 16
#: What `unicode61` makes tokens of, roughly: a word without any such character would match nothing.
_TOKEN = re.compile(r"[^\W_]")


class Question(msgspec.Struct, frozen=True):
    """Empty parts do not matter. `artifact` may hold `*`; `text`: every word of it, or the beginning of one, stands in the record."""

    artifact: str = ""
    principal: str = ""
    outcome: str = ""
    rule: str = ""
    component: str = ""
    text: str = ""
    since_ms: int = 0  # inclusive
    until_ms: int = 0  # exclusive


def row_id(at_ms: int, partition: int, seq: int) -> int:
    """Unique for up to two million records of a partition in one second."""
    second = min(max(at_ms // 1000, 0), _SECONDS_MAX)
    return second << _SECOND_BITS | partition << _SEQ_BITS | seq & (1 << _SEQ_BITS) - 1


def partition_of_row(row: int) -> int:
    return row >> _SEQ_BITS & (1 << _PARTITION_BITS) - 1


def select(question: Question, before: int | None, limit: int) -> tuple[str, list[str | int]]:
    """The statement and its arguments: rows (id, value) before a row id (of the page before), newest first."""
    words = match(question.text) if question.text.strip() else None
    source = "records r" if words is None else "words w JOIN records r ON r.id = w.rowid"
    identity = "r.id" if words is None else "w.rowid"
    conditions, arguments = _conditions(question, identity, before)
    if words is not None:
        conditions.insert(0, "w.words MATCH ?")
        arguments.insert(0, words)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    # What is put in here are literals of this module; what was asked is in the arguments.
    return f"SELECT r.id, r.value FROM {source}{where} ORDER BY {identity} DESC LIMIT ?", [*arguments, limit]  # noqa: S608


def match(text: str) -> str:
    """An FTS5 query for all words of any text; each is quoted, so that none is taken for syntax."""
    words = [word.replace('"', '""') for word in text.replace("\0", " ").split() if _TOKEN.search(word)]
    return " ".join(f'"{word}"*' for word in words[:_WORDS_MAX]) or '""'


def _conditions(question: Question, identity: str, before: int | None) -> tuple[list[str], list[str | int]]:
    conditions: list[str] = []
    arguments: list[str | int] = []

    def add(condition: str, *given: str | int) -> None:
        conditions.append(condition)
        arguments.extend(given)

    for column in ("principal", "outcome", "rule", "component"):
        if wanted := getattr(question, column):
            add(f"r.{column} = ?", wanted)
    if "*" in question.artifact:
        add("r.artifact GLOB ?", _glob(question.artifact))
    elif question.artifact:
        add("r.artifact = ?", question.artifact)
    if question.since_ms:
        add(f"{identity} >= ? AND r.at_ms >= ?", row_id(question.since_ms, 0, 0), question.since_ms)
    if question.until_ms:
        add(f"{identity} < ? AND r.at_ms < ?", row_id(question.until_ms + 999, 0, 0), question.until_ms)
    if before is not None:
        add(f"{identity} < ?", before)
    return conditions, arguments


def _glob(pattern: str) -> str:
    """Only `*` is a pattern with us; SQLite's GLOB also knows `?` and `[…]`."""
    return re.sub(r"([?\[])", r"[\1]", pattern)
