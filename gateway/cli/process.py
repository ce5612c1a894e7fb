"""What the long-running commands share: settings, logs, signals, and an exit code that tells a supervisor what happened."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
import uvloop

from streams.config_file import load_settings
from streams.errors import ConfigError, SyncMasterError
from streams.logs import configure_logging
from streams.settings import Settings

log = structlog.get_logger(__name__)


def settings_or_exit(config: Path | None, base_dir: Path | None) -> Settings:
    """The effective settings; what is wrong with them goes to stderr, with exit code 2."""
    try:
        return load_settings(config, os.environ, base_dir=base_dir)
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        raise SystemExit(2) from None


def run_until_stopped(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` with an event that SIGINT or SIGTERM sets. Exit code 1, and the reason in the log, if it fails."""
    configure_logging()
    try:
        uvloop.run(_with_signals(main))
    except SyncMasterError as exc:
        log.error("stopped", reason=str(exc))
        raise SystemExit(1) from None


async def _with_signals(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await main(stop)
