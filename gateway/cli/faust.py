"""`syncmaster faust …`: Faust's own command line, on the app of this configuration."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.cli.process import settings_or_exit


def faust_command(arguments: list[str], config: Path | None, base_dir: Path | None) -> None:
    from agents.worker import build_app

    app = build_app(settings_or_exit(config, base_dir))
    sys.argv = ["faust", *arguments]
    app.main()
