"""`syncmaster nats-config`: the nats-server's configuration, from the same file that everything else is configured by."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from gateway.cli.process import settings_or_exit
from gateway.nats_config.credentials import from_environment, revealed
from gateway.nats_config.server import nats_config
from streams.errors import ConfigError

_HEADER = "# Made by `syncmaster nats-config`; change syncmaster.yaml, not this file, then reload: nats-server --signal reload\n"


def nats_config_command(
    config: Path | None,
    base_dir: Path | None,
    *,
    output: Path | None,
    env: bool,
    listen: str,
    monitor_port: int | None,
    store_dir: Path,
) -> int:
    """Write to `output`, readable by this user only, or to stdout; 1 when somebody could not log in."""
    settings = settings_or_exit(config, base_dir)
    host, _, port = listen.rpartition(":")
    try:
        credentials = from_environment(settings) if env else revealed(settings)
        text = _HEADER + nats_config(
            settings, credentials, host=host or "127.0.0.1", port=int(port), http_port=monitor_port, store_dir=store_dir
        )
    except (ConfigError, ValueError) as exc:
        print(exc, file=sys.stderr)
        return 1
    if output is None:
        sys.stdout.write(text)
    else:
        _replace(output, text)
    return 0


def _replace(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment: it holds passwords."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
