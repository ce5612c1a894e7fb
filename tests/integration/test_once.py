"""`syncmaster up`, as a newcomer runs it: the sample, the real index, a second time; and that nothing is left of it afterwards."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest

from gateway.local.kafka import Kafka
from tests.harness import is_alive

pytestmark = pytest.mark.connected

INDEX = Path(__file__).parents[2].parent / "shared" / "data" / "argo-helm" / "index.yaml"
INDEX_EVENTS = 1628
UP = [sys.executable, "-m", "gateway.cli.main", "up"]
STOP_S = 10.0


@pytest.mark.timeout(300)
def test_sample_is_accounted_for_once_and_is_all_duplicates_the_second_time(tmp_path: Path) -> None:
    """`up --once`: one JSON line, every event has one outcome, every pair is in sync; again: all duplicates, nothing delivered anew."""
    first, pids = once(tmp_path)
    assert_accounted(first)
    assert first["accepted"] > 0
    assert first["refused"] == first["quarantined"] == first["duplicate"] == 1
    assert all(first["delivered"].values())
    assert not [pid for pid in pids if is_alive(pid)]
    second, _ = once(tmp_path)
    assert_accounted(second)
    assert second["duplicate"] == second["published"] == first["published"]
    assert not any(second["delivered"].values())


@pytest.mark.timeout(300)
@pytest.mark.skipif(not INDEX.exists(), reason="the Helm index of argo-helm is not beside this checkout")
def test_real_index_is_delivered_version_by_version(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> None:
    """Each of the real index's chart versions is accepted, and delivered once to each of those who want every one."""
    env = {"SYNCMASTER_KAFKA_BOOTSTRAP": kafka.bootstrap, "SYNCMASTER__KAFKA__TOPIC_PREFIX": topic_prefix}
    result, _ = once(tmp_path, "--index", str(INDEX), env=env)
    assert_accounted(result)
    assert result["published"] == result["accepted"] == INDEX_EVENTS
    assert result["delivered"]["c8-portal"] == result["delivered"]["c20-chart-store"] == INDEX_EVENTS
    assert result["superseded"]["c8-portal"] == result["superseded"]["c20-chart-store"] == 0


@pytest.mark.timeout(120)
def test_ctrl_c_stops_everything_and_run_json_tells_others_where_everything_is(
    tmp_path: Path, kafka: Kafka, topic_prefix: str
) -> None:
    """While it runs, run.json (0600) leads to every process and opens the gateway; Ctrl-C ends all of them within 10 s."""
    env = {"SYNCMASTER_KAFKA_BOOTSTRAP": kafka.bootstrap, "SYNCMASTER__KAFKA__TOPIC_PREFIX": topic_prefix}
    with running(tmp_path, env=env) as process:
        run = wait_run_file(tmp_path / ".syncmaster" / "run.json")
        assert set(run) >= {"gateway", "api_key", "nats", "kafka", "pids"}
        assert {"nats", "worker", "bridge", "gateway", "c8-portal", "c12-manifestor", "c20-chart-store", "c28-kustomize"} <= set(
            run["pids"]
        )
        assert all(map(is_alive, run["pids"].values()))
        assert run["kafka"] == kafka.bootstrap
        request = Request(f"{run['gateway']}/v1/status", headers={"Authorization": f"Bearer {run['api_key']}"})
        with urlopen(request, timeout=5) as response:
            assert response.status == 200
        everything = descendants(process.pid)
        assert set(run["pids"].values()) <= everything
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(STOP_S) == 0
    assert not [pid for pid in everything if is_alive(pid)]
    assert not (tmp_path / ".syncmaster" / "run.json").exists()


@pytest.mark.timeout(120)
def test_once_that_does_not_get_there_in_time_says_so_and_fails(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> None:
    """`up --once --timeout-s`: exit code 1, the reason on stderr, the line all the same, and nothing left running."""
    env = {"SYNCMASTER_KAFKA_BOOTSTRAP": kafka.bootstrap, "SYNCMASTER__KAFKA__TOPIC_PREFIX": topic_prefix}
    with running(tmp_path, "--once", "--timeout-s", "0.01", env=env) as process:
        wait_run_file(tmp_path / ".syncmaster" / "run.json")
        everything = descendants(process.pid)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(out)["in_sync"] is False
    assert "not reached within 0.01 s" in err
    assert everything
    assert not [pid for pid in everything if is_alive(pid)]


# -- running it --------------------------------------------------------------------------------------------------------------------


@contextmanager
def running(directory: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """`up` in a directory of its own, away from any configuration of this checkout."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"} | (env or {})
    pipe = subprocess.PIPE
    process = subprocess.Popen([*UP, *arguments], cwd=directory, env=environment, stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()  # its children are tied to it
        process.communicate()


def once(directory: Path, *arguments: str, env: dict[str, str] | None = None) -> tuple[dict[str, Any], set[int]]:
    """`up --once`: what it printed, and the ids of all processes that it ever started. Fails unless it exits with 0."""
    pids: set[int] = set()
    with running(directory, "--once", "--timeout-s", "120", *arguments, env=env) as process:
        while process.poll() is None:
            pids |= descendants(process.pid)
            time.sleep(0.1)
        out, err = process.communicate()
    assert process.returncode == 0, f"{out}\n{err}"
    (line,) = out.splitlines()
    return json.loads(line), pids


def descendants(pid: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def wait_run_file(path: Path, timeout_s: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    run: dict[str, Any] = json.loads(path.read_text())
    return run


def assert_accounted(result: dict[str, Any]) -> None:
    assert result["in_sync"] is result["components_match"] is True
    assert result["published"] == sum(result[outcome] for outcome in ("accepted", "refused", "quarantined", "duplicate"))
