"""`syncmaster config`: the effective configuration as YAML, defaults and overrides included, secrets only as their places."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from streams.config_file import load_settings
from streams.errors import ConfigError
from streams.settings import Settings

_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def config_command(path: Path | None, base_dir: Path | None = None) -> int:
    """Print the configuration, or what is wrong with it; 1 when it cannot be used."""
    try:
        print(effective_yaml(load_settings(path, os.environ, base_dir=base_dir)), end="")
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


def effective_yaml(settings: Settings) -> str:
    """A file that, loaded again, gives the same settings, except for credentials in addresses, which are masked."""
    return yaml.safe_dump(_masked(settings.model_dump(mode="json", exclude_none=True)), sort_keys=False, allow_unicode=True)


def _masked(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _masked(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_masked(value) for value in node]
    return _dollars(_USERINFO.sub("***", node)) if isinstance(node, str) else node


def _dollars(text: str) -> str:
    """A literal `$` is written so that loading does not take it for a reference."""
    return text.replace("$", "$$")
