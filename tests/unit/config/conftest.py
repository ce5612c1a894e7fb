"""A configuration file to write, and to read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from streams.config_file import read_settings
from streams.config_lint import lint
from streams.config_problem import InvalidConfig, Problem

Problems = Callable[..., list[Problem]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "syncmaster.yaml"
        file.write_text(dedent(text).lstrip("\n"))
        return file

    return write


@pytest.fixture
def problems(write: Callable[[str], Path]) -> Problems:
    """Everything that is wrong with a text: what keeps it from being read, else what the lint finds.

    But for the one finding of every text without a signing key: test_config_audit.py is about it.
    """

    def problems(text: str, environ: Mapping[str, str] | None = None) -> list[Problem]:
        try:
            found = lint(*read_settings(write(text), environ or {}))
        except InvalidConfig as exc:
            return list(exc.problems)
        return [problem for problem in found if problem.path != "audit"]

    return problems
