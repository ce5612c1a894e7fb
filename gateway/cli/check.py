"""`syncmaster check FILE`: every problem of a configuration with file:line and the mend. Exit code 1 when one is an error."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from streams.config_file import read_settings
from streams.config_lint import lint
from streams.config_problem import InvalidConfig, Problem

Format = Literal["text", "json"]


def check_command(path: Path | None, output: Format = "text", base_dir: Path | None = None) -> int:
    """Print the problems; 0 when there are only warnings or none. Texts go to people, JSON is one object for tools."""
    problems = find_problems(path, base_dir)
    wrong = sum(problem.level == "error" for problem in problems)
    print(_as_json(problems) if output == "json" else _as_text(problems, wrong))
    return 1 if wrong else 0


def find_problems(path: Path | None, base_dir: Path | None = None) -> list[Problem]:
    """Errors and warnings in the order of the file."""
    try:
        return lint(*read_settings(path, os.environ, base_dir=base_dir))
    except InvalidConfig as exc:
        return list(exc.problems)


def _as_text(problems: Sequence[Problem], wrong: int) -> str:
    count = f"{wrong} error{'s' * (wrong != 1)}, {len(problems) - wrong} warning{'s' * (len(problems) - wrong != 1)}"
    return "\n".join([*map(str, problems), count if problems else "no problems"])


def _as_json(problems: Sequence[Problem]) -> str:
    return json.dumps({"problems": [msgspec.to_builtins(problem) for problem in problems]}, indent=2)
