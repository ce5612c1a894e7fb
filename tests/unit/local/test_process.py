"""Child processes: started, watched, stopped in order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gateway.local.process import Child, stop_in_order
from streams.errors import Retriable

ROOT = Path(__file__).parents[3]
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"
PATIENT = "import time\nprint('up', flush=True)\ntime.sleep(60)"


class Nursery:
    """Children that are gone when the test is over."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._children: list[Child] = []

    def start(self, script: str, name: str = "child") -> Child:
        child = Child(name, [sys.executable, "-c", script], self.logs)
        self._children.append(child)
        child.start()
        child.wait_until(lambda: "up" in child.output(), timeout_s=10)
        return child

    def clear(self) -> None:
        for child in self._children:
            child.kill9()


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path / "logs")
    yield nursery
    nursery.clear()


def test_stop_ends_it(nursery: Nursery) -> None:
    """SIGTERM is enough for one that does not mind, and nothing of it is left."""
    child = nursery.start(PATIENT)
    assert child.stop(timeout_s=5)
    assert (child.running, child.exit_code) == (False, -signal.SIGTERM)
    assert not psutil.pid_exists(child.pid)


def test_stop_kills_at_the_deadline(nursery: Nursery) -> None:
    """One that ignores SIGTERM is killed, and `stop` says so."""
    child = nursery.start(STUBBORN)
    assert not child.stop(timeout_s=0.3)
    assert child.exit_code == -signal.SIGKILL


def test_a_paused_child_can_be_stopped(nursery: Nursery) -> None:
    """SIGTERM reaches it although it was paused."""
    child = nursery.start(PATIENT)
    child.pause()
    assert _wait(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
    assert child.running
    assert child.stop(timeout_s=5)


def test_resume_wakes_it(nursery: Nursery) -> None:
    """After SIGCONT it goes on where it was."""
    child = nursery.start(
        "import time\nprint('up', flush=True)\nwhile True:\n    time.sleep(0.01)\n    print('tick', flush=True)"
    )
    child.pause()
    assert _wait(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
    written = len(child.output())
    child.resume()
    assert _wait(lambda: len(child.output()) > written)


def test_groups_stop_one_after_the_other(nursery: Nursery) -> None:
    """The second group still runs until the first has ended; the total deadline holds although the first is stubborn."""
    stubborn, patient = nursery.start(STUBBORN, "first"), nursery.start(PATIENT, "second")
    began = time.monotonic()
    assert not stop_in_order([[stubborn], [patient]], timeout_s=1.0)
    assert (stubborn.exit_code, patient.exit_code) == (-signal.SIGKILL, -signal.SIGTERM)
    assert 0.4 < time.monotonic() - began < 2


def test_a_child_that_fails_tells_why(tmp_path: Path) -> None:
    """The error has the exit code and the end of the log."""
    child = Child("broken", [sys.executable, "-c", "print('the disk is full'); raise SystemExit(3)"], tmp_path)
    child.start()
    with pytest.raises(Retriable, match=r"broken ended with exit code 3; (.|\n)*the disk is full"):
        child.wait_until(lambda: False, timeout_s=10)


def test_a_child_that_is_not_ready_in_time_tells_why(nursery: Nursery) -> None:
    """The deadline holds, and the error has the end of the log."""
    child = nursery.start(PATIENT)
    with pytest.raises(Retriable, match=r"not ready after 0 s; (.|\n)*up"):
        child.wait_until(lambda: False, timeout_s=0.1)


def test_a_restart_has_its_own_output(nursery: Nursery) -> None:
    """`output` is of the last start; the log keeps both."""
    child = nursery.start(PATIENT)
    child.kill9()
    child.start()
    child.wait_until(lambda: "up" in child.output(), timeout_s=10)
    assert (child.output().count("up"), child.log.read_text().count("up")) == (1, 2)


def test_a_log_that_grew_is_moved_aside(nursery: Nursery) -> None:
    """Also while the child writes: what it writes afterwards is in the log, what was there before is beside it."""
    child = nursery.start(
        "import time\nprint('up', flush=True)\nwhile True:\n    time.sleep(0.01)\n    print('tick', flush=True)"
    )
    assert _wait(lambda: child.log.stat().st_size > 200)
    child.trim_log(bytes_max=100)
    assert child.log.with_suffix(".log.1").read_text().startswith("up\n")
    assert _wait(lambda: "tick" in child.output())
    assert not child.log.read_bytes().startswith(b"\0")


def test_a_child_outlives_the_thread_that_asked_for_it(nursery: Nursery) -> None:
    """The kernel ties a child to a thread; the asking one may come from a pool that retires it."""
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(nursery.start(PATIENT)))
    thread.start()
    thread.join()
    assert not children[0].wait_end(0.5)


@pytest.mark.parametrize("way", ["kernel", "watching"])
def test_no_child_outlives_its_parent(tmp_path: Path, way: str) -> None:
    """kill -9 of the parent, and the children are gone, by the kernel or, where it cannot, by the tether that watches."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from gateway.local import process\n"
        "process._TETHER = Path(sys.argv[2])\n"
        "children = [process.Child(f'c{i}', [sys.executable, '-c', 'import time; time.sleep(60)'], Path(sys.argv[1])) for i in range(2)]\n"
        "[child.start() for child in children]\n"
        "print(*[child.pid for child in children], flush=True)\n"
        "time.sleep(60)\n"
    )
    tether = ROOT / "gateway/local/tether.py"
    if way == "watching":
        watching = tmp_path / "tether.py"
        watching.write_text(tether.read_text().replace('sys.platform != "linux"', "True"))
        tether = watching
    command = [sys.executable, "-c", script, tmp_path, tether]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        families = [psutil.Process(pid) for pid in pids]
        assert len(pids) == 2
        assert _wait(lambda: all(len(process.children()) == (way == "watching") for process in families))
        families += [child for process in families for child in process.children()]
        parent.kill()
    assert _wait(lambda: not any(_alive(process) for process in families))


def test_a_child_has_its_own_process_group(nursery: Nursery) -> None:
    """Ctrl-C in the terminal reaches the parent only, which then stops its children in order."""
    child = nursery.start(PATIENT)
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _wait(condition: Callable[[], bool], timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False
