"""Jars from Maven repositories, through jgo (a resolver in pure Python): fetching one, and making the lock anew.

`python -m gateway.local.maven` writes kafka.lock.json. The only file that knows jgo, and with it where the repositories are.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.local.jars import LOCK_FILE, Jar, Lock, sha256_of
from streams.errors import ConfigError

KAFKA_VERSION = "4.1.0"
#: Kafka logs through slf4j-api 1.7 and brings log4j 2.24 without the binding between them.
ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3")
_ATTEMPTS = 3
_TIMEOUT_S = 30


def fetch_jar(jar: Jar, directory: Path, advance: Callable[[int], None]) -> Path:
    """Downloads one jar (a `jars.Fetch`). Tries three times. Raises OSError."""
    for attempt in range(_ATTEMPTS):
        try:
            return _download(jar.coordinate, directory / str(attempt), advance)
        except (OSError, RuntimeError) as exc:  # jgo says RuntimeError for "not found" and for a wrong checksum
            failure = exc
            time.sleep(attempt)
    raise OSError(str(failure)) from failure


def _download(coordinate: str, directory: Path, advance: Callable[[int], None]) -> Path:
    group, artifact, version = coordinate.split(":")
    return Path(_context(directory, advance).project(group, artifact).at_version(version).artifact().resolve())


def _context(directory: Path, advance: Callable[[int], None]) -> Any:
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as exc:
        raise ConfigError("Kafka's jars are fetched with jgo, which is missing; run: pip install 'syncmaster[local]'") from exc

    @contextmanager
    def progress(_name: str, _total_bytes: int) -> Iterator[Callable[[int], None]]:
        yield advance

    # Mirrors that the user has configured for jgo come first; without any, jgo knows its own.
    mirrors = GlobalSettings.load().repositories or None
    return MavenContext(PythonResolver(progress_callback=progress), directory, remote_repos=mirrors, timeout=_TIMEOUT_S)


def resolve_lock(roots: tuple[str, ...] = ROOTS) -> Lock:
    """Resolves the roots with everything they need at run time, downloads it, and takes its sizes and digests.

    Each root by itself, the first one's versions hold: resolved together, the version management of one would govern the other.
    """
    with tempfile.TemporaryDirectory() as scratch:
        context = _context(Path(scratch), lambda _: None)
        artifacts: dict[tuple[str, str], Any] = {}
        for artifact in (artifact for root in roots for artifact in _closure(context, root)):
            artifacts.setdefault((artifact.groupId, artifact.artifactId), artifact)
        return Lock(KAFKA_VERSION, tuple(sorted(map(_locked, artifacts.values()), key=lambda jar: jar.coordinate)))


def _closure(context: Any, root: str) -> list[Any]:
    given, needed = context.resolver.resolve([context.create_dependency(root)])
    return [dep.artifact for dep in (*given, *needed) if dep.scope in (None, "compile", "runtime")]


def _locked(artifact: Any) -> Jar:
    path = artifact.resolve()
    return Jar(f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}", path.stat().st_size, sha256_of(path))


if __name__ == "__main__":
    lock = resolve_lock()
    lock.save()
    print(f"{LOCK_FILE.name}: {len(lock.jars)} jars, {sum(jar.bytes for jar in lock.jars):,} bytes")
