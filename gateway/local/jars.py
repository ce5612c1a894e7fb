"""Kafka's jars: the lock that says which bytes they are, and a cache outside the checkout that heals itself.

A jar is used only if its SHA-256 is the lock's. Whatever is missing, damaged or half-written is fetched again. Where jars
come from is in maven.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streams.errors import ConfigError

LOCK_FILE = Path(__file__).with_name("kafka.lock.json")
#: Downloads side by side.
_FETCHES = 4


@dataclass(frozen=True)
class Jar:
    #: `group:artifact:version`
    coordinate: str
    bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True)
class Lock:
    kafka_version: str
    jars: tuple[Jar, ...]

    @classmethod
    def load(cls, path: Path = LOCK_FILE) -> Lock:
        content = json.loads(path.read_text())
        return cls(content["kafka_version"], tuple(Jar(**jar) for jar in content["jars"]))

    def save(self, path: Path = LOCK_FILE) -> None:
        jars = [{"coordinate": jar.coordinate, "bytes": jar.bytes, "sha256": jar.sha256} for jar in self.jars]
        path.write_text(json.dumps({"kafka_version": self.kafka_version, "jars": jars}, indent=2) + "\n")


#: Downloads a jar into an empty directory, tells how many bytes arrived as they do, and returns the file. Raises OSError.
Fetch = Callable[[Jar, Path, Callable[[int], None]], Path]


class Report(Protocol):
    """Told how a download goes. `advance` is called from several threads."""

    def begin(self, jars: int, total_bytes: int) -> None: ...
    def advance(self, arrived_bytes: int) -> None: ...
    def end(self) -> None: ...


def cache_dir(lock: Lock, environ: Mapping[str, str] = os.environ) -> Path:
    """`$SYNCMASTER_CACHE`, else `$XDG_CACHE_HOME`, else `~/.cache`; then `syncmaster/kafka-<version>`."""
    base = environ.get("SYNCMASTER_CACHE") or environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "syncmaster", f"kafka-{lock.kafka_version}")


def ensure_jars(lock: Lock, directory: Path, fetch: Fetch, report: Report) -> list[Path]:
    """The paths of all jars of the lock, each of them checked; fetches those that are not there or not right.

    Processes that do this at the same time wait for each other. With everything in place there is no network. Raises ConfigError
    when a jar cannot be had, or is not the one that the lock names.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if wanting(lock, directory):
        with _exclusive(directory / ".lock"):
            _fetch_all(wanting(lock, directory), directory, fetch, report)
    return [directory / jar.file_name for jar in lock.jars]


def wanting(lock: Lock, directory: Path) -> list[Jar]:
    """The jars that are missing or not what the lock says."""
    return [jar for jar in lock.jars if not _is_intact(directory / jar.file_name, jar)]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_intact(path: Path, jar: Jar) -> bool:
    return path.is_file() and path.stat().st_size == jar.bytes and sha256_of(path) == jar.sha256


def _fetch_all(jars: list[Jar], directory: Path, fetch: Fetch, report: Report) -> None:
    if not jars:  # whoever had the lock before has fetched them
        return
    report.begin(len(jars), sum(jar.bytes for jar in jars))
    try:
        with ThreadPoolExecutor(_FETCHES) as pool:
            for done in [pool.submit(_fetch_one, jar, directory, fetch, report) for jar in jars]:
                done.result()
    finally:
        report.end()


def _fetch_one(jar: Jar, directory: Path, fetch: Fetch, report: Report) -> None:
    """Downloads beside its place, checks, and renames: a name in the cache is never a half-written file."""
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=directory) as draft:
        try:
            path = fetch(jar, Path(draft), report.advance)
        except OSError as exc:
            raise ConfigError(
                f"cannot download {jar.coordinate} ({exc}); check the network or the proxy and start again"
            ) from exc
        if not _is_intact(path, jar):
            raise ConfigError(
                f"{jar.coordinate} as downloaded is not the one in {LOCK_FILE.name} (SHA-256 {sha256_of(path)}, "
                f"wanted {jar.sha256}); something on the way changes it: check the proxy or the mirror"
            )
        path.replace(directory / jar.file_name)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, also by a kill
        yield
