"""Runs a command that is killed as soon as its parent is gone: `python tether.py <parent's pid> <command> <argument>…`.

Run as a script, by process.py, with nothing but the standard library. On Linux the kernel does it and this process becomes
the command; elsewhere this process stays, and watches.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_WATCH_S = 0.2


def main(parent: int, command: list[str]) -> int:
    if sys.platform != "linux":
        return watch(parent, command)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:  # otherwise it went before the kernel knew
        os.execvp(command[0], command)
    return 1


def watch(parent: int, command: list[str]) -> int:
    """The command's exit code; negative as in `subprocess`. Signals to the process group reach both."""
    child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the command got it as well and decides
    while child.poll() is None:
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)
        time.sleep(_WATCH_S)
    return child.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
