"""The server's own notation: names, blocks, lists, strings. What is written in it is not known here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EnvRef:
    """What the server takes from its own environment, for configurations that are committed."""

    name: str


def lines(items: Mapping[str, Any], indent: str = "") -> str:
    return "".join(f"{indent}{_key(key)}: {_render(value, indent)}\n" for key, value in items.items())


def _key(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key)


def _render(value: Any, indent: str) -> str:
    """The server's own notation. Strings are quoted, so that nothing in them is taken for a variable."""
    inner = indent + "  "
    match value:
        case dict():
            return "{\n" + lines(value, inner) + indent + "}"
        case list():
            many = any(isinstance(item, dict) for item in value) or len(value) > 1
            items = "".join(f"{inner}{_render(item, inner)}\n" for item in value)
            return f"[\n{items}{indent}]" if many else f"[{items.strip()}]"
        case EnvRef(name):
            return f"${name}"
        case _:
            return json.dumps(value, ensure_ascii=False)
