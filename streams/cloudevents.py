"""Bytes and headers to the attributes and data of one CloudEvent, in structured or binary mode. What it means: `vocabulary.py`.

Two ways lead to the same envelope. The strict one decodes the usual event, one without extensions, in one pass and has no opinion on
anything else. The patient one takes every member by itself and says exactly what is wrong. `envelope.py` is the definition of both.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, NoReturn

import msgspec

from streams import ce_headers
from streams.envelope import (
    EXTENSION_NAME,
    EXTENSIONS_MAX,
    ID_CHARS_MAX,
    SOURCE_CHARS_MAX,
    SPECVERSION,
    TIME_CHARS_MAX,
    TIME_WISH,
    TYPE_CHARS_MAX,
    VALUE_CHARS_MAX,
    is_base64,
    is_clean,
    is_time,
)
from streams.errors import Malformed
from streams.events import Incoming
from streams.settings import Limits

NO_DATA = msgspec.Raw()
_NULL = msgspec.Raw(b"null")
Value = Annotated[str, msgspec.Meta(min_length=1, max_length=VALUE_CHARS_MAX)]


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """The attributes that CloudEvents itself defines. `data` is a slice of the original bytes."""

    specversion: str
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARS_MAX)]
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=SOURCE_CHARS_MAX)]
    type: Annotated[str, msgspec.Meta(min_length=1, max_length=TYPE_CHARS_MAX)]
    time: Annotated[str, msgspec.Meta(max_length=TIME_CHARS_MAX)] | None = None
    subject: Value | None = None
    datacontenttype: Value | None = None
    dataschema: Value | None = None
    data: msgspec.Raw = NO_DATA
    data_base64: str | None = None


Extensions = dict[str, Any]
_REQUIRED = {"id": ID_CHARS_MAX, "source": SOURCE_CHARS_MAX, "type": TYPE_CHARS_MAX}
_OPTIONAL = ("subject", "datacontenttype", "dataschema")
_OWN = frozenset(Envelope.__struct_fields__)
_strict = msgspec.json.Decoder(Envelope).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value = msgspec.json.Decoder().decode


def read(incoming: Incoming) -> tuple[Envelope, Extensions]:
    """Envelope and extensions of one event. Raises Malformed, and nothing else, for any headers and any body that `check_text` let pass."""
    if "ce-specversion" in incoming.headers:
        return _binary(incoming)
    try:
        envelope = _strict(incoming.body)
    except msgspec.ValidationError:
        return _patient(incoming.body)
    except (msgspec.DecodeError, RecursionError) as exc:
        refuse_json(exc)
    if _is_plain(envelope, incoming.body):
        return envelope, {}
    return _patient(incoming.body)


def check_text(text: bytes, limits: Limits) -> None:
    """Bounds that hold before anything is parsed: size, UTF-8, depth."""
    if len(text) > limits.event_bytes_max:
        raise Malformed("event.too_large", f"found {len(text)} bytes; expected at most {limits.event_bytes_max}")
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as exc:
            raise Malformed("json.invalid", f"found a byte that is not UTF-8 at {exc.start}; expected UTF-8 text") from None
    depth_max = limits.json_depth_max
    if text.count(b"{") + text.count(b"[") > depth_max and is_deeper(text, depth_max):
        raise Malformed("json.too_deep", f"expected at most {depth_max} levels of objects and arrays, one in another")


# The closing quote is optional and the loops are possessive: an open string cannot make the search quadratic.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_SAME_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def is_deeper(text: bytes, depth_max: int) -> bool:
    """Whether JSON text nests deeper. Each turn removes the innermost level; what is never closed is the parser's to refuse."""
    brackets = _STRING.sub(b"", text).translate(_SAME_BRACKETS, _NO_BRACKETS)
    for _ in range(depth_max):
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets


@lru_cache(maxsize=256)
def is_json(media_type: str) -> bool:
    essence = media_type.partition(";")[0].strip().lower()
    return essence in ("application/json", "text/json") or essence.endswith("+json")


def refuse_json(exc: Exception) -> NoReturn:
    if isinstance(exc, RecursionError):
        raise Malformed("json.too_deep", "found more levels of objects and arrays than can be read") from None
    raise Malformed("json.invalid", f"{exc}; expected one JSON document in UTF-8") from None


def cut(value: object) -> str:
    """A value as a refusal shows it: unmistakable, printable, at most 80 characters of it."""
    text = value if isinstance(value, str) else repr(value)
    return ascii(text) if len(text) <= 80 else ascii(text[:80]) + "…"


def _is_plain(e: Envelope, body: bytes) -> bool:
    """All that the types of the strict way do not say already. False sends the event on the patient way."""
    if e.specversion != SPECVERSION or e.data_base64 is not None or e.data == _NULL:
        return False
    if e.time is not None and not is_time(e.time):
        return False
    # ASCII without an escape or DEL cannot spell a control character; JSON has no other way to.
    if b"\\" not in body and b"\x7f" not in body and body.isascii():
        return True
    return f"{e.id}{e.source}{e.type}{e.subject}{e.datacontenttype}{e.dataschema}".isprintable()


def _patient(body: bytes) -> tuple[Envelope, Extensions]:
    try:
        members = _members(body)
    except msgspec.ValidationError:
        raise Malformed("json.invalid", f"found {cut(body[:20].decode(errors='replace'))}; expected a JSON object") from None
    except (msgspec.DecodeError, RecursionError) as exc:
        refuse_json(exc)
    data = members.pop("data", NO_DATA)
    return _envelope({name: _attribute(name, raw) for name, raw in members.items()}, NO_DATA if data == _NULL else data)


def _attribute(name: str, raw: msgspec.Raw) -> object:
    try:
        return _value(raw)
    except msgspec.ValidationError:  # a number that no machine type holds
        raise Malformed("attribute.invalid", f"{cut(name)}: found a number out of range") from None


def _binary(incoming: Incoming) -> tuple[Envelope, Extensions]:
    attributes: dict[str, object] = dict(ce_headers.attributes_of(incoming.headers))
    if "data" in attributes or "data_base64" in attributes:
        raise Malformed("attribute.name", "found the header ce-data or ce-data_base64; in binary mode the body is the data")
    data = msgspec.Raw(incoming.body)
    return _envelope(attributes, NO_DATA if data == _NULL else data)


def _envelope(attributes: dict[str, object], data: msgspec.Raw) -> tuple[Envelope, Extensions]:
    """Every rule of the envelope, one by one. `attributes` is everything but `data`; a null counts as absent."""
    extensions = _extensions(attributes)
    present = {name: value for name, value in attributes.items() if value is not None}
    if present.get("specversion") != SPECVERSION:
        found = cut(present["specversion"]) if "specversion" in present else "none"
        raise Malformed("specversion.unsupported", f"found {found}; expected {SPECVERSION!r}")
    for name in _REQUIRED:
        if present.get(name, "") == "":
            raise Malformed(f"{name}.missing", f"found no {name}; expected a non-empty string")
    texts = {name: _text(name, present.get(name), chars_max) for name, chars_max in _REQUIRED.items()}
    texts |= {name: _text(name, present.get(name), VALUE_CHARS_MAX) for name in _OPTIONAL}
    texts |= {"time": _time(present.get("time")), "data_base64": _base64(present.get("data_base64"), data)}
    return Envelope(specversion=SPECVERSION, data=data, **texts), extensions  # type: ignore[arg-type]


def _extensions(attributes: dict[str, object]) -> Extensions:
    extensions = {}
    for name, value in attributes.items():
        if name in _OWN:
            continue
        if not EXTENSION_NAME.fullmatch(name):
            raise Malformed("attribute.name", f"found {cut(name)}; expected 1 to 20 characters of a-z and 0-9")
        if value is not None:
            extensions[name] = _extension(name, value)
    if len(extensions) > EXTENSIONS_MAX:
        raise Malformed("attributes.too_many", f"found {len(extensions)} extensions; expected at most {EXTENSIONS_MAX}")
    return extensions


def _extension(name: str, value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return value
        raise Malformed("attribute.invalid", f"{name}: found {cut(value)}; expected an integer of 32 bits")
    return _text(name, value, VALUE_CHARS_MAX, chars_min=0)


def _text(name: str, value: object, chars_max: int, chars_min: int = 1) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Malformed("attribute.invalid", f"{name}: found {cut(value)}; expected a string")
    if not chars_min <= len(value) <= chars_max:
        raise Malformed("attribute.invalid", f"{name}: found {len(value)} characters; expected {chars_min} to {chars_max}")
    if not is_clean(value):
        raise Malformed("attribute.invalid", f"{name}: found {cut(value)}; expected no control characters")
    return value


def _time(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > TIME_CHARS_MAX or not is_time(value):
        raise Malformed("time.invalid", f"found {cut(value)}; expected {TIME_WISH}")
    return value


def _base64(value: object, data: msgspec.Raw) -> str | None:
    if value is None:
        return None
    if data != NO_DATA:
        raise Malformed("data.conflict", "found both `data` and `data_base64`; expected one of them")
    if not isinstance(value, str) or not is_base64(value):
        raise Malformed("data.invalid", f"data_base64: found {cut(value)}; expected base64 with padding")
    return value
