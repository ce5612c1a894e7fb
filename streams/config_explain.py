"""pydantic's findings in an operator's words: what is wrong and how to mend it. Never a value: it may have been a secret."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from streams.config_yaml import Path
from streams.settings import SecretRef, Settings

_MENDS = {
    "missing": "add it",
    "string_pattern_mismatch": "see docs/configuration.md for its form",
    "too_short": "list at least one",
    "value_error": "change one of the two",
}
#: The keys by which unions are told apart.
_TAGS = ("type", "kind")
_PLACE_MEND = "write where the secret is, {env: NAME} or {file: PATH}, never the secret itself"


def explain(error: ErrorDetails, data: Any) -> tuple[Path, str, str]:
    """(path in the file, what is wrong, how to mend it)."""
    path = file_path(error["loc"], data)
    kind = error["type"]
    if kind == "relation":
        return (*path, *error["ctx"]["at"]), error["ctx"]["message"], error["ctx"]["mend"]
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return path, *_untold(error)
    if kind == "extra_forbidden":
        return path, f"unknown key `{path[-1]}`", _did_you_mean(str(path[-1]), fields_at(path[:-1], data))
    if kind in ("model_type", "model_attributes_type", "dict_type") and _type_at(path, data) is SecretRef:
        return path, "must be the place of a secret", _PLACE_MEND
    return path, _message(error), _mend(error)


def file_path(location: tuple[str | int, ...], data: Any) -> Path:
    """pydantic's location without what is not in the file: the tags of unions, and the `[key]` of a bad key."""
    path: Path = ()
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if _has(data, part):
            path, data = (*path, part), data[part]
        elif last and part != "[key]" and not (isinstance(data, Mapping) and part in map(data.get, _TAGS)):
            path = (*path, part)
    return path


def fields_at(path: Path, data: Any) -> list[str]:
    """The keys that the settings know at a path of the file."""
    found = _type_at(path, data)
    return sorted(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else []


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _untold(error: ErrorDetails) -> tuple[str, str]:
    """An entry that does not say which of several shapes it has."""
    key = error["ctx"]["discriminator"].strip("'")
    expected = error["ctx"].get("expected_tags", "").replace("'", "")
    if not expected:
        return f"does not say of which {key} it is", f"add `{key}`; see docs/configuration.md for those that there are"
    return f"`{key}` is none that is known", f"write one of {expected}"


def _message(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "string_pattern_mismatch":
        return f"must match {error['ctx']['pattern']}"
    text = error["msg"].removeprefix("Value error, ")
    return text.replace("Input should be", "must be").replace("Input should have", "must have")


def _mend(error: ErrorDetails) -> str:
    return _MENDS.get(error["type"], "change the value")


def _did_you_mean(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"remove it; known here are {', '.join(known)}" if known else "remove it"


def _type_at(path: Path, data: Any) -> Any:
    current: Any = Settings
    for part in path:
        data = data[part] if _has(data, part) else None
        current = _chosen(_step(current, part), data)
    return current


def _step(current: Any, part: str | int) -> Any:
    """The type of an entry: a model's field, a dictionary's value, a tuple's item."""
    if isinstance(current, type) and issubclass(current, BaseModel):
        field = current.model_fields.get(str(part))
        return field.annotation if field is not None else None
    arguments = get_args(current)
    if get_origin(current) is dict:
        return arguments[1]
    return arguments[0] if arguments else None


def _chosen(annotation: Any, data: Any) -> Any:
    """Of a union, the member that the data's tag names, or the only one that is not None."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    members = [member for member in get_args(annotation) if member is not type(None)]
    tags = {data.get(key) for key in _TAGS} if isinstance(data, Mapping) else set()
    return next((member for member in members if _tag(member) in tags), members[0] if len(members) == 1 else None)


def _tag(member: Any) -> Any:
    fields = member.model_fields if isinstance(member, type) and issubclass(member, BaseModel) else {}
    annotations = (fields[key].annotation for key in _TAGS if key in fields)
    return next((get_args(found)[0] for found in annotations if get_origin(found) is Literal), None)
