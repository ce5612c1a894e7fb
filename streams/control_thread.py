"""Follows [control] on a thread and a loop of its own: in a process whose loop is busy for a second, knowledge must not be a second old."""

from __future__ import annotations

import asyncio
import threading

from streams.control_reader import ControlReader

_STOP_S_MAX = 5.0


class ControlThread:
    """Runs a reader. What others may do with it meanwhile: read `fresh_at`, and be called back by `on_change`, on this thread."""

    def __init__(self, reader: ControlReader) -> None:
        self._reader = reader
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._running = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._follow()), name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._running.wait()

    async def aclose(self) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            await asyncio.to_thread(self._thread.join, _STOP_S_MAX)

    async def _follow(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running.set()
        await self._reader.start()
        await self._stopped.wait()
        await self._reader.aclose()
