"""How a download is shown: a progress bar on a terminal, plain lines elsewhere. Two shapes of `jars.Report`."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from gateway.local.jars import Report

_LINE_S = 2.0


def report_to(stream: TextIO = sys.stderr) -> Report:
    return Bar(stream) if stream.isatty() else Lines(stream)


class Bar:
    def __init__(self, stream: TextIO) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(file=stream))

    def begin(self, jars: int, total_bytes: int) -> None:
        self._task = self._progress.add_task(f"Kafka, {jars} jars", total=total_bytes)
        self._progress.start()

    def advance(self, arrived_bytes: int) -> None:
        self._progress.advance(self._task, arrived_bytes)

    def end(self) -> None:
        self._progress.stop()


class Lines:
    """A line at the start, at the end, and at most every two seconds between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def begin(self, jars: int, total_bytes: int) -> None:
        self._total_bytes, self._arrived_bytes, self._said_at = total_bytes, 0, time.monotonic()
        self._say(f"fetching Kafka: {jars} jars, {total_bytes / 1e6:.1f} MB")

    def advance(self, arrived_bytes: int) -> None:
        with self._lock:
            self._arrived_bytes += arrived_bytes
            if time.monotonic() - self._said_at >= _LINE_S:
                self._said_at = time.monotonic()
                self._say(f"fetching Kafka: {self._arrived_bytes / 1e6:.1f} of {self._total_bytes / 1e6:.1f} MB")

    def end(self) -> None:
        self._say(f"fetched {self._arrived_bytes / 1e6:.1f} MB")

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
