"""What peers need beside this project's own environment: a virtual environment for Quix Streams, a jar for Kafka Streams. Made once, kept.

Quix Streams has one of its own because it pins what it needs itself; it is kept where Kafka's jars are, outside the checkout. Kafka Streams
is built by Maven. What cannot be had is `Missing`, by name and with the reason, and the run goes on without that peer.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from gateway.local.jars import Lock, cache_dir
from gateway.local.java import find_java
from streams.errors import ConfigError

PEERS = Path(__file__).with_name("peers")
QUIX = ("quixstreams==3.28.1", "msgspec==0.22.0")
_MAVEN_PROJECT = PEERS / "kafka_streams"
_TIMEOUT_S = 300


class Missing(Exception):
    """A peer that cannot run on this machine; the text says why."""


def quix_python(*, may_install: bool = True) -> Path:
    """The Python of Quix Streams' environment."""
    name = hashlib.sha256(" ".join((*QUIX, sys.version)).encode()).hexdigest()[:8]
    directory = cache_dir(Lock.load()).with_name(f"quix-streams-{name}")
    stamp, python = directory / "installed", directory / "bin" / "python"
    if stamp.exists():
        return python
    if not may_install:
        raise Missing("its environment is not made yet; `make bench QUICK=1` makes it")
    _run([sys.executable, "-m", "venv", directory])
    _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *QUIX])
    stamp.touch()
    return python


def kafka_streams_command(*, may_build: bool = True) -> list[str | os.PathLike[str]]:
    """Java up to the main class."""
    jar = _MAVEN_PROJECT / "target" / "peer.jar"
    if not jar.exists() or jar.stat().st_mtime < _newest_source():
        if not may_build:
            raise Missing("it is not built yet; `make bench QUICK=1` builds it")
        if shutil.which("mvn") is None:
            raise Missing("there is no Maven (`mvn`) on PATH")
        _run(["mvn", "-q", "-B", "-f", _MAVEN_PROJECT / "pom.xml", "package"])
    try:
        java = find_java()
    except ConfigError as exc:
        raise Missing(str(exc)) from exc
    classpath = f"{jar}{os.pathsep}{jar.parent / 'lib' / '*'}"
    return [
        java.executable,
        "-Xms1g",
        "-Xmx1g",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        classpath,
        "syncmaster.bench.Peer",
    ]


def _newest_source() -> float:
    sources = [_MAVEN_PROJECT / "pom.xml", *_MAVEN_PROJECT.glob("src/**/*.java")]
    return max(source.stat().st_mtime for source in sources)


def _run(command: list[str | os.PathLike[str]]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.CalledProcessError as exc:
        raise Missing(f"`{Path(command[0]).name}` failed: {(exc.stderr or exc.stdout).strip()[-600:]}") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Missing(f"`{Path(command[0]).name}` failed: {exc}") from exc
