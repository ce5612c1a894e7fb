"""A bridge as its own process, for tests that kill or pause one: `python -m tests.bridge_process settings.json`, log lines as JSON."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streams.bridge import run_bridge
from streams.logs import configure_logging
from streams.settings import Settings

ROOT = Path(__file__).parent.parent


class BridgeProcess:
    def __init__(self, settings: Settings, directory: Path, name: str) -> None:
        config = directory / f"{name}.json"
        config.write_text(settings.model_dump_json())
        self._log = directory / f"{name}.log"
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "tests.bridge_process", str(config)]
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log, stdout=log)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill9(self) -> None:
        self.process.kill()
        self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@contextmanager
def bridge_process(settings: Settings, directory: Path, name: str = "bridge") -> Iterator[BridgeProcess]:
    bridge = BridgeProcess(settings, directory, name)
    try:
        yield bridge
    finally:
        bridge.kill9()


async def _main(path: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_bridge(Settings.model_validate_json(Path(path).read_text()), stop)


if __name__ == "__main__":
    configure_logging()
    asyncio.run(_main(sys.argv[1]))
