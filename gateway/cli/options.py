"""Options that several commands take, declared once. What they mean to a command that talks to a gateway: `api.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration; default $SYNCMASTER_CONFIG, then ./syncmaster.yaml.")
]
BaseDir = Annotated[Path | None, typer.Option(help="Where relative secret files are; default: beside the configuration.")]
Url = Annotated[str | None, typer.Option("--url", help="The gateway; default $SYNCMASTER_URL, then that of the configuration.")]
KeyFile = Annotated[Path | None, typer.Option(help="A file with your API key; default: the key in $SYNCMASTER_API_KEY.")]
OutputFormat = Literal["text", "json"]
Output = Annotated[OutputFormat, typer.Option("--format", help="For people or for tools.")]
