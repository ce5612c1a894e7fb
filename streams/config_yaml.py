"""YAML text to plain data, with the line of every key and `${VAR}` filled in from the environment. Knows nothing of settings.

Stricter than YAML: duplicate keys, keys that are not strings, and anchors are errors. Anchors would let ten lines stand for
gigabytes, and one place would stand for many when an error is reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import yaml

#: Keys and indexes from the root of the document: ("routes", 0, "to").
Path = tuple[str | int, ...]

TEXT_BYTES_MAX = 1 << 20
_DEPTH_MAX = 32
_STR_TAG = "tag:yaml.org,2002:str"
_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\{))")


class Position(NamedTuple):
    line: int  # from 1
    column: int  # from 1


class Fault(NamedTuple):
    """Something that is wrong with the text, and how to mend it."""

    position: Position
    path: Path
    message: str
    mend: str


class Document(msgspec.Struct):
    """Plain data and where each of its nodes is. A mapping's entry is where its key is."""

    data: Any
    positions: dict[Path, Position]
    faults: list[Fault]

    def position(self, path: Path) -> Position:
        """Of the node, or of its nearest ancestor that is in the text."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, Position(1, 1))


def read_document(text: str, environ: Mapping[str, str]) -> Document:
    """Never raises for what the text holds: faults are collected, so that all of them can be told at once."""
    if len(text) > TEXT_BYTES_MAX:
        return _unreadable(
            None, f"the file is larger than {TEXT_BYTES_MAX} characters", "split the topology over several clusters"
        )
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as exc:
        return _unreadable(
            None, f"character {exc.position} is not allowed in YAML", "remove it, or save the file as plain UTF-8 text"
        )
    try:
        root = loader.get_single_node()
        reader = _Reader(loader, environ)
        data = reader.read(root, ()) if root is not None else None
        return Document(data, reader.positions, reader.faults)
    except yaml.MarkedYAMLError as exc:
        return _unreadable(
            exc.problem_mark or exc.context_mark, f"not valid YAML: {exc.problem}", "mend the syntax at this place"
        )
    except RecursionError:
        return _unreadable(None, "nested too deeply", "no setting needs that")
    finally:
        loader.dispose()


def _unreadable(mark: Any, message: str, mend: str) -> Document:
    where = _position(mark) if mark is not None else Position(1, 1)
    return Document(None, {}, [Fault(where, (), message, mend)])


class _Loader(yaml.SafeLoader):
    """The safe loader without anchors."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.composer.ComposerError(None, None, "anchors and aliases are not taken", event.start_mark)
        return super().compose_node(parent, index)


class _Reader:
    """One walk over the node tree."""

    def __init__(self, loader: yaml.SafeLoader, environ: Mapping[str, str]) -> None:
        self._loader = loader
        self._environ = environ
        self.positions: dict[Path, Position] = {}
        self.faults: list[Fault] = []

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.positions.setdefault(path, _position(node.start_mark))
        if len(path) > _DEPTH_MAX:
            self._fault(path, "nested too deeply", "no setting needs that")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = _position(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _STR_TAG:
                self.faults.append(Fault(where, path, "a key must be text", "put it in quotes"))
            elif key_node.value in result:
                first = self.positions[(*path, key_node.value)].line
                message = f"the key is there twice, first in line {first}"
                self.faults.append(Fault(where, (*path, key_node.value), message, "keep one of the two"))
            else:
                self.positions[(*path, key_node.value)] = where
                result[key_node.value] = self.read(value_node, (*path, key_node.value))
        return result

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if node.tag == _STR_TAG:
            return _REFERENCE.sub(lambda match: self._substitute(match, path), node.value)
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._fault(path, f"not a value of {node.tag.rpartition(':')[2]}", "put it in quotes if it is text")
            return None

    def _substitute(self, match: re.Match[str], path: Path) -> str:
        """As in a shell: the default stands for a variable that is unset or empty."""
        if match["dollar"]:
            return "$"
        if match["broken"]:
            self._fault(
                path, "`${` begins no reference", "write `${NAME}` or `${NAME:-default}`, and `$$` for a plain dollar sign"
            )
            return ""
        value = self._environ.get(match["name"])
        if match["default"] is not None:
            return value or match["default"]
        if value is None:
            name = match["name"]
            self._fault(path, f"the environment variable {name} is not set", f"set it, or write `${{{name}:-default}}`")
            return ""
        return value

    def _fault(self, path: Path, message: str, mend: str) -> None:
        self.faults.append(Fault(self.positions[path], path, message, mend))


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)
