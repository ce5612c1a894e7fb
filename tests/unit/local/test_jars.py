"""The cache of Kafka's jars: only the lock's bytes are used, and whatever is not right is fetched again."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.local import jars
from gateway.local.jars import Jar, Lock, cache_dir, ensure_jars, wanting
from gateway.local.maven import KAFKA_VERSION, ROOTS
from streams.errors import ConfigError

CONTENT = {"a:broker:1": b"broker" * 1000, "a:clients:1": b"clients" * 1000}
LOCK = Lock("1", tuple(Jar(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in CONTENT.items()))


class Source:
    """A repository that counts what is asked of it; `spoil` changes what it sends."""

    def __init__(self, spoil: Callable[[bytes], bytes] = lambda data: data) -> None:
        self.asked: list[str] = []
        self._spoil = spoil

    def fetch(self, jar: Jar, directory: Path, advance: Callable[[int], None]) -> Path:
        self.asked.append(jar.coordinate)
        path = directory / "download"
        path.write_bytes(self._spoil(CONTENT[jar.coordinate]))
        advance(jar.bytes)
        return path


class Tally:
    def __init__(self) -> None:
        self.events: list[object] = []

    def begin(self, jars: int, total_bytes: int) -> None:
        self.events.append(("begin", jars, total_bytes))

    def advance(self, arrived_bytes: int) -> None:
        self.events.append(arrived_bytes)

    def end(self) -> None:
        self.events.append("end")


def test_an_empty_cache_is_filled(tmp_path: Path) -> None:
    """Everything is fetched once, into files that hold the lock's bytes."""
    source, tally = Source(), Tally()
    paths = ensure_jars(LOCK, tmp_path / "cache", source.fetch, tally)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert [path.name for path in paths] == ["broker-1.jar", "clients-1.jar"]
    assert tally.events == [("begin", 2, 13000), 6000, 7000, "end"] or tally.events == [("begin", 2, 13000), 7000, 6000, "end"]


def test_a_full_cache_asks_for_nothing(tmp_path: Path) -> None:
    """With everything in place nothing is fetched and nothing is reported."""
    ensure_jars(LOCK, tmp_path, Source().fetch, Tally())
    source, tally = Source(), Tally()
    ensure_jars(LOCK, tmp_path, source.fetch, tally)
    assert (source.asked, tally.events) == ([], [])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="deleted"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:100]), id="truncated"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"X" + path.read_bytes()[1:]), id="one byte changed"),
    ],
)
def test_a_damaged_jar_heals(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """Exactly the jar that is not right is fetched again."""
    broker, clients = ensure_jars(LOCK, tmp_path, Source().fetch, Tally())
    damage(broker)
    source = Source()
    ensure_jars(LOCK, tmp_path, source.fetch, Tally())
    assert source.asked == ["a:broker:1"]
    assert (broker.read_bytes(), clients.read_bytes()) == tuple(CONTENT.values())


def test_other_bytes_than_the_locks_are_refused(tmp_path: Path) -> None:
    """A download with another digest never gets its name in the cache, and the error names the jar."""
    with pytest.raises(ConfigError, match="a:broker:1 as downloaded is not the one in"):
        ensure_jars(LOCK, tmp_path, Source(spoil=lambda data: data[::-1]).fetch, Tally())
    assert list(tmp_path.glob("*.jar")) == []


def test_a_failed_download_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """No network: the operator is told what to check, and no draft is left."""

    def fetch(jar: Jar, directory: Path, advance: Callable[[int], None]) -> Path:
        (directory / "half").write_bytes(b"half")
        raise OSError("connection refused")

    with pytest.raises(ConfigError, match=r"cannot download a:broker:1.*check the network"):
        ensure_jars(LOCK, tmp_path, fetch, Tally())
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_two_processes_fetch_once(tmp_path: Path) -> None:
    """Whoever comes second waits, and then finds everything in place."""
    script = (
        "import sys, time, pathlib\n"
        "from gateway.local.jars import ensure_jars\n"
        "from tests.unit.local.test_jars import CONTENT, LOCK, Tally\n"
        "def fetch(jar, directory, advance):\n"
        "    time.sleep(0.3)\n"
        "    sys.stdout.write(jar.coordinate + chr(10))\n"
        "    (directory / 'd').write_bytes(CONTENT[jar.coordinate])\n"
        "    return directory / 'd'\n"
        "ensure_jars(LOCK, pathlib.Path(sys.argv[1]), fetch, Tally())\n"
    )
    root = Path(__file__).parents[3]
    both = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)
    ]
    fetched = [line for process in both for line in process.communicate(timeout=30)[0].split()]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(fetched) == ["a:broker:1", "a:clients:1"]


def test_the_committed_lock_is_whole() -> None:
    """It names Kafka and the binding that its logging needs, each jar with digest and size, and each file name once."""
    lock = Lock.load()
    coordinates = {jar.coordinate for jar in lock.jars}
    assert set(ROOTS) <= coordinates
    assert lock.kafka_version == KAFKA_VERSION
    assert all(len(jar.sha256) == 64 and jar.bytes > 1000 for jar in lock.jars)
    assert len({jar.file_name for jar in lock.jars}) == len(lock.jars) > 40


def test_the_lock_keeps_what_it_was_given(tmp_path: Path) -> None:
    """Saved and loaded it is the same lock."""
    LOCK.save(tmp_path / "lock.json")
    assert Lock.load(tmp_path / "lock.json") == LOCK


def test_the_cache_is_where_the_environment_says() -> None:
    """SYNCMASTER_CACHE goes before XDG_CACHE_HOME, which goes before ~/.cache; never within the checkout."""
    assert cache_dir(LOCK, {"SYNCMASTER_CACHE": "/c", "XDG_CACHE_HOME": "/x"}) == Path("/c/syncmaster/kafka-1")
    assert cache_dir(LOCK, {"XDG_CACHE_HOME": "/x"}) == Path("/x/syncmaster/kafka-1")
    assert cache_dir(LOCK, {}) == Path.home() / ".cache/syncmaster/kafka-1"


def test_wanting_is_everything_at_first(tmp_path: Path) -> None:
    """A directory that is not there yet wants all jars."""
    assert wanting(LOCK, tmp_path / "nowhere") == list(LOCK.jars)
    assert jars.LOCK_FILE.exists()
