"""What is wrong with a configuration: where, what, and how to mend it. Found by `config_file.py` and `config_lint.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path as File
from typing import Literal

import msgspec

from streams.config_yaml import Document, Path
from streams.errors import ConfigError

Level = Literal["error", "warning"]


class Problem(msgspec.Struct, frozen=True):
    """`path` is dotted, e.g. `routes[0].to`. A value from the environment has its variable, `$NAME`, as its file and line 0."""

    file: str
    line: int
    column: int
    level: Level
    path: str
    message: str
    mend: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        subject = f"{self.path}: " if self.path else ""
        return f"{place}: {self.level}: {subject}{self.message}; {self.mend}"


class InvalidConfig(ConfigError):
    """The file, or what overrides it, cannot be used. The message has one line per problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class Source(msgspec.Struct, frozen=True):
    """What settings were read from: the file's text, the variables that override it, and the names of all that are set."""

    file: File
    document: Document
    overrides: dict[Path, str]
    variables: frozenset[str]

    def problem(self, path: Path, message: str, mend: str, *, level: Level = "error") -> Problem:
        variable = self._overriding(path)
        if variable is not None:
            return Problem(f"${variable}", 0, 0, level, dotted(path), message, mend)
        line, column = self.document.position(path)
        return Problem(str(self.file), line, column, level, dotted(path), message, mend)

    def _overriding(self, path: Path) -> str | None:
        """The variable that set this path; for a path that is not in the file, one that set something below it."""
        if path in self.overrides or path in self.document.positions:
            return self.overrides.get(path)
        return next((name for set_, name in self.overrides.items() if set_[: len(path)] == path), None)


def sort(problems: Iterable[Problem]) -> list[Problem]:
    """In the order of the file."""
    return sorted(problems, key=lambda problem: (problem.line, problem.column, problem.path))


def dotted(path: Path) -> str:
    """("routes", 0, "to") is `routes[0].to`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
