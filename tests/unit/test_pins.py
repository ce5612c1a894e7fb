"""Versions that must not move by themselves: the transport leans on private API of these packages."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]


def pin(package: str) -> str:
    (entry,) = [entry for entry in PROJECT["dependencies"] if re.match(rf"{package}(\[|[<>=~!])", entry)]
    found = re.fullmatch(rf"{package}(?:\[[\w,]+\])?==([\w.]+)", entry)
    assert found, f"{entry} is not pinned exactly"
    return found[1]


@pytest.mark.parametrize("package", ["faust-streaming", "mode-streaming", "aiokafka"])
def test_what_we_lean_on_is_pinned_and_installed(package: str) -> None:
    """The exact version is required, and it is the one that these tests run with."""
    assert pin(package) == version(package)


def test_every_dependency_has_a_bound() -> None:
    """No dependency is named without a version."""
    entries = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["local"]]
    assert [entry for entry in entries if not re.search(r"[<>=~]=?\d", entry)] == []
