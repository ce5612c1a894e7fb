"""One child process: its own process group, its output in a log file, never outliving its parent. Which children there are is decided elsewhere.

A child dies with its parent, also when that is killed with SIGKILL: each command is started through tether.py. Everything
here goes by the process id of a child of ours, never by a name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from streams.errors import Retriable

_TETHER = Path(__file__).with_name("tether.py")
_POLL_S = 0.02
_LOG_BYTES_MAX = 16 << 20

# The kernel ties a child to the *thread* that started it: one that is started from a thread pool would be killed as soon as that
# thread is retired. So one thread, which lives as long as this process, starts all of them.
_starter = ThreadPoolExecutor(1, thread_name_prefix="start-children")


class Child:
    """A command that is started, watched and stopped. All methods block, none for longer than the deadline that it is given."""

    def __init__(
        self, name: str, command: Sequence[str | os.PathLike[str]], logs: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._command = [os.fspath(part) for part in command]
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start_bytes = 0

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Started and not ended. A paused child runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 after SIGKILL."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Starts it, without waiting for what it needs to be ready. Its log goes on where an earlier start ended."""
        assert not self.running, f"{self.name} is running already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.trim_log()
        with self.log.open("ab") as log:
            self._log_start_bytes = log.tell()
            self._process = _starter.submit(
                subprocess.Popen,
                [sys.executable, "-S", "-E", os.fspath(_TETHER), str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,  # Ctrl-C reaches the parent only, which stops its children in order
            ).result()

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Returns when `ready()`. Raises Retriable, with the end of the log, if the child ends first or time is up."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.running:
                raise Retriable(
                    f"{self.name} ended with exit code {self.exit_code}; its log {self.log} ends with:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise Retriable(
                    f"{self.name} was not ready after {timeout_s:.0f} s; its log {self.log} ends with:\n{self.tail()}"
                )
            time.sleep(_POLL_S)

    def wait_end(self, timeout_s: float) -> bool:
        """Whether it has ended within that time."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(timeout_s, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def terminate(self) -> None:
        """Asks it to stop, waking it if it is paused."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def kill9(self) -> None:
        """SIGKILL, and waits for the end of it."""
        self._signal(signal.SIGKILL)
        self.wait_end(10)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self, timeout_s: float = 10) -> bool:
        """SIGTERM, and SIGKILL at the deadline. Whether SIGTERM was enough."""
        return stop_in_order([[self]], timeout_s)

    def output(self) -> str:
        """What it has written since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start_bytes)
            return log.read().decode(errors="replace")

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        with self.log.open("rb") as log:
            log.seek(max(self.log.stat().st_size - (lines << 10), 0))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def trim_log(self, bytes_max: int = _LOG_BYTES_MAX) -> None:
        """Moves a log that has grown beyond that to `<name>.log.1`. Also while the child writes: it appends, and begins at 0 again."""
        if self.log.exists() and self.log.stat().st_size > bytes_max:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)
            self._log_start_bytes = 0

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            os.killpg(self.pid, number)


def stop_in_order(groups: Sequence[Sequence[Child]], timeout_s: float) -> bool:
    """Stops one group after the other, those of a group side by side, all within `timeout_s`. Whether SIGTERM was enough for all.

    Each group may use an equal part of the time that is left, and is then killed.
    """
    deadline = time.monotonic() + timeout_s
    gentle = True
    for index, group in enumerate(groups):
        until = time.monotonic() + (deadline - time.monotonic()) / (len(groups) - index)
        for child in group:
            child.terminate()
        for child in group:
            if not child.wait_end(until - time.monotonic()):
                child.kill9()
                gentle = False
    return gentle
