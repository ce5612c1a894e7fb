"""docs/proofs.md names tests that exist, and none of a guarantee's is missing there."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

PAGE = Path("docs/proofs.md")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())))
#: Rows of the tables: what is claimed, by what it is proven, and what is to be said about it.
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| Guarantee |", "| Invariant |", "| Trap |"))
]


@lru_cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse(Path(path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part.rpartition("/")[2])
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    """Whoever renames or removes a test that proves something changes the page."""
    assert name in functions(path)


def test_every_claim_has_a_proof_or_a_reason() -> None:
    """A row names a test, or says in its last cell why there is nothing to prove."""
    assert len(ROWS) > 50
    assert [row[0] for row in ROWS if "::" not in row[1] and not row[-1]] == []


def test_every_invariant_is_listed() -> None:
    """I1 to I10, each once."""
    assert [row[0].split()[0] for row in ROWS if re.match(r"I\d+ ", row[0])] == [f"I{number}" for number in range(1, 11)]


@pytest.mark.parametrize("kind", ["plants", "checkers"])
def test_every_planted_bug_and_every_checker_is_listed(kind: str) -> None:
    """What the simulation finds, and what it looks at, belongs to a guarantee."""
    decorator = {"plants": {"plant", "plant_for_losses", "plant_for_trouble"}, "checkers": {"checker"}}[kind]
    marked = {
        (path.as_posix(), node.name)
        for path in Path("tests/simulation").glob(f"{kind}*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and decorator & {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
    }
    assert marked
    assert marked - set(NAMED) == set()
