"""Tidiness as a test: what no linter looks for."""

from __future__ import annotations

import ast
import re
import subprocess
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

PACKAGES = ("streams", "tables", "agents", "gateway")
TRACKED = [
    Path(name)
    for name in subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n")
    if name
]
TEXTS = [path for path in TRACKED if path.is_file() and path.suffix not in {".png", ".gif", ".ico", ".woff2", ".gz", ".tgz"}]
MODULES = [path for path in TEXTS if path.suffix == ".py" and path.parts[0] in (*PACKAGES, "tests", "benchmarks")]

#: Put together, so that this file does not find itself.
LEFTOVERS = re.compile(
    "|".join(rf"\b{first}{second}\b" for first, second in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("breakpoint", r"\(")))
)
#: Places of one machine: homes and temporary directories of whoever wrote it.
MACHINES = re.compile("|".join(first + second for first, second in (("/ho", r"me/\w"), ("/wo", "rk/"), ("/Us", "ers/"))))


def found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_leftovers() -> None:
    """No file holds a marker of unfinished work."""
    assert found(LEFTOVERS) == []


def test_no_path_of_a_machine() -> None:
    """No file holds a path that exists on one machine only."""
    assert found(MACHINES) == []


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__init__.py" or path.stat().st_size], ids=str)
def test_every_module_says_what_lives_there(path: Path) -> None:
    """Each module begins with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} needs a docstring of one to three lines"


def test_every_test_states_its_behaviour() -> None:
    """The first line of each test's docstring says what would be broken."""
    silent = [
        f"{path}:{node.lineno}: {node.name}"
        for path in MODULES
        if path.parts[0] == "tests"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_documents_have_one_title() -> None:
    """Each page has exactly one heading of the first rank, outside of code blocks."""
    for path in TEXTS:
        if path.suffix == ".md":
            prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
            assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1, path


def test_links_between_documents_lead_somewhere() -> None:
    """Relative links of the documentation name files that are there."""
    broken = [
        f"{path}: {target}"
        for path in TEXTS
        if path.suffix == ".md"
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("package", PACKAGES)
def test_our_packages_are_ours_alone(package: str) -> None:
    """No other distribution brings a package of the same name, which would be imported instead or mixed in."""
    assert set(packages_distributions().get(package, ["syncmaster"])) == {"syncmaster"}


def test_pre_commit_runs_what_make_runs() -> None:
    """The quick checks of `make test` are the hooks, with the same options."""
    hooks = yaml.safe_load(Path(".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    made = re.findall(r"^\t\$\(BIN\)/((?:ruff|mypy|lint-imports).*)$", Path("Makefile").read_text(), re.MULTILINE)
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in hooks] == made


def test_every_decision_is_listed() -> None:
    """The index of decisions names each of them."""
    directory = Path("docs/decisions")
    dated = {path.name for path in directory.glob("20*.md")}
    assert set(re.findall(r"\]\((20[^)]+)\)", (directory / "README.md").read_text())) == dated
