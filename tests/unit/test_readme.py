"""What README and docs say exists: commands, files, functions, tests, code. That links lead somewhere is in `test_tidy.py`."""

from __future__ import annotations

import ast
import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer.core
import typer.main
import yaml

from gateway.app import REGISTRIES
from gateway.cli.main import app
from gateway.openapi import build_openapi
from streams.settings import Settings
from tests.brokers import orbit

README = Path("README.md")
ARCHITECTURE = Path("docs/architecture.md")
PAGES = sorted([README, Path("CONTRIBUTING.md"), *Path("docs").rglob("*.md")])
PACKAGES = ("streams", "tables", "agents", "gateway")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"(?:streams|tables|agents|gateway|tests|deploy|docs|benchmarks)/[\w./-]*\w\.\w+")


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(page.read_text()) if found == language]


def commands(page: Path) -> list[list[str]]:
    """What stands behind the prompts of its terminals; a line that does not end a quotation goes on in the next."""
    found = []
    for block in blocks(page, "console"):
        for line in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            try:
                found.append(shlex.split(line, comments=True))
            except ValueError:
                found.append(shlex.split(line.splitlines()[0], comments=True))
    return found


@cache
def definitions(path: str) -> set[str]:
    """Names at the top of a module, methods as `Class.method`."""
    names = set()
    for node in ast.parse(Path(path).read_text()).body:
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_that_are_named_exist(page: Path) -> None:
    """Every path in code font is a file of the repository."""
    named = {path for code in _CODE.findall(page.read_text()) for path in _FILE.findall(code) if "*" not in code}
    assert [path for path in sorted(named) if not Path(path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_functions_that_are_named_exist(page: Path) -> None:
    """`file:function` leads to that function."""
    named = re.findall(r"`((?:streams|tables|agents|gateway)/[\w/]+\.py):([\w.]+)`", page.read_text())
    assert [f"{path}:{name}" for path, name in named if name not in definitions(path)] == []


def test_the_life_of_an_event_names_functions() -> None:
    """Each step of the life of one event says where it happens."""
    life = ARCHITECTURE.read_text().partition("## The life of one event")[2].partition("\n## ")[0]
    steps = re.split(r"^\d+\. ", life, flags=re.MULTILINE)[1:]
    assert len(steps) >= 10
    assert all(re.search(r"`\w+/[\w/]+\.py(:[\w.]+)?`", step) for step in steps)


def test_the_file_map_is_complete() -> None:
    """Every module has a line in the file map, and every line a module."""
    listed, directory = set(), ""
    for line in ARCHITECTURE.read_text().partition("## File map")[2].splitlines():
        if line.startswith("### "):
            directory = line.split("`")[1]
        if line.startswith("| `"):
            first, *more = _CODE.findall(line.partition(" | ")[0])
            inner = _CODE.findall(line) if first.endswith("/") else [first, *more]
            listed |= {
                directory + (first if name != first and first.endswith("/") else "") + name
                for name in inner
                if name.endswith(".py")
            }
    modules = {str(path) for package in PACKAGES for path in Path(package).rglob("*.py") if path.name != "__init__.py"}
    # The operations and the routes over them share one line each.
    modules -= {path for path in modules if path.startswith("gateway/routes/")}
    assert sorted(listed) == sorted(modules)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_exist(page: Path) -> None:
    """Every `make` and `syncmaster` command, and every option given to one, exists."""
    targets = set(re.findall(r"^(\w+):", Path("Makefile").read_text(), re.MULTILINE))
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    prose = [
        shlex.split(code) for code in _CODE.findall(page.read_text()) if re.match(r"(make|syncmaster) [a-z][\w-]*(?: |$)", code)
    ]
    for name, *arguments in commands(page) + prose:
        if name == "make":
            assert {word for word in arguments if "=" not in word} <= targets, arguments
        elif name == "syncmaster":
            command, words = group, list(arguments)
            while isinstance(command, typer.core.TyperGroup) and words:
                command = command.commands[words.pop(0)]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word.partition("=")[0] for word in arguments if word.startswith("-")} <= known, arguments


def test_the_variables_of_make_run_exist() -> None:
    """What README passes to make is what the Makefile looks at."""
    passed = {word.partition("=")[0] for name, *rest in commands(README) if name == "make" for word in rest if "=" in word}
    assert passed
    assert all(f"$({variable})" in Path("Makefile").read_text() for variable in passed)


def test_requests_exist() -> None:
    """Every path that README asks of the gateway is an operation of it."""
    known = [re.sub(r"\{\w+\}", "[^/?]+", path) for path in json.loads(build_openapi(REGISTRIES))["paths"]]
    asked = set(re.findall(r"\$URL(/[^\s\"?]*)", README.read_text()))
    assert asked
    assert [path for path in asked if not any(re.fullmatch(pattern, path) for pattern in known)] == []


def test_guarantees_are_proven_by_tests() -> None:
    """Each guarantee names tests that exist and hold at least one test."""
    table = README.read_text().partition("## Delivery guarantees")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| **")]
    assert len(rows) >= 9
    for row in rows:
        files = re.findall(r"\]\((tests/[^)]+)\)", row)
        assert files, row
        assert all(re.search(r"^\s*(async )?def test_|\.TestCase$", Path(file).read_text(), re.MULTILINE) for file in files), row


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_examples_compile(page: Path) -> None:
    """Examples in Python are Python, those in JSON are JSON, those in YAML are YAML."""
    for text in blocks(page, "python"):
        compile(text, str(page), "exec")
    for text in blocks(page, "json"):
        json.loads(text)
    for text in blocks(page, "yaml"):
        yaml.safe_load(text)


def test_a_component_is_written_in_twenty_lines() -> None:
    """Each example of a component has at most twenty lines."""
    sizes = [len(text.splitlines()) for text in blocks(README, "python")]
    assert len(sizes) == 3
    assert max(sizes) <= 20


def test_the_example_configuration_is_one(tmp_path: Path) -> None:
    """The component and the route that README adds are valid beside what is there."""
    (text,) = blocks(README, "yaml")
    added = yaml.safe_load(text)
    base = orbit(tmp_path).model_dump(mode="json", exclude_defaults=True)
    base["components"] |= added["components"]
    base["routes"] += added["routes"]
    assert "my-store" in Settings.model_validate(base).components
