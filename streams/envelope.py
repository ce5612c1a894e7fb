"""The CloudEvents 1.0 envelope as SyncMaster takes it: THE definition of attributes and bounds. The fast reader is `cloudevents.py`.

OpenAPI shows this model, and a property test holds the fast reader to it: both accept the same JSON documents.
What an event means (types, artifacts) is not told here; see `vocabulary.py`.
"""

from __future__ import annotations

import binascii
import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

SPECVERSION = "1.0"
ID_CHARS_MAX = 256
SOURCE_CHARS_MAX = 512
TYPE_CHARS_MAX = 256
TIME_CHARS_MAX = 64
#: Of `subject`, `dataschema`, `datacontenttype` and the value of an extension.
VALUE_CHARS_MAX = 1024
EXTENSIONS_MAX = 32
#: Stamped at the door; whatever a producer sends under these names is dropped.
STAMPED = frozenset({"smprincipal", "smcluster", "smingress", "recordedtime"})

EXTENSION_NAME = re.compile(r"[a-z0-9]{1,20}")
#: Characters that the CloudEvents type `String` forbids: controls, lone surrogates (a header can have them), noncharacters.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
TIME_WISH = "an RFC 3339 timestamp with a zone, such as 2026-11-22T09:30:00Z"


@lru_cache(maxsize=1024)
def parse_time(text: str) -> datetime | None:
    """The moment, or None unless `text` is an RFC 3339 timestamp with a zone (leap seconds are not taken)."""
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    # msgspec is more liberal than RFC 3339 in these three: no zone, a space for the T, a zone without its colon.
    strict = moment.tzinfo is not None and text[10] in "Tt" and (text[-1] in "Zz" or text[-3] == ":")
    return moment if strict else None


def is_time(text: str) -> bool:
    return parse_time(text) is not None


def is_clean(text: str) -> bool:
    """No character that a CloudEvents String may not have. Nearly all text is printable, and that is quickly seen."""
    return text.isprintable() or not _FORBIDDEN.search(text)


def is_base64(text: str) -> bool:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # not ASCII, or not base64
        return False
    return True


def _clean(text: str) -> str:
    if not is_clean(text):
        raise ValueError("control characters and noncharacters are not allowed")
    return text


def _time(text: str) -> str:
    if not is_time(text):
        raise ValueError(f"expected {TIME_WISH}")
    return text


def _base64(text: str) -> str:
    if not is_base64(text):
        raise ValueError("expected base64 with padding (RFC 4648, section 4)")
    return text


_CLEAN = AfterValidator(_clean)
Id = Annotated[str, Field(strict=True, min_length=1, max_length=ID_CHARS_MAX), _CLEAN]
Source = Annotated[str, Field(strict=True, min_length=1, max_length=SOURCE_CHARS_MAX), _CLEAN]
Type = Annotated[str, Field(strict=True, min_length=1, max_length=TYPE_CHARS_MAX), _CLEAN]
Value = Annotated[str, Field(strict=True, min_length=1, max_length=VALUE_CHARS_MAX), _CLEAN]
Time = Annotated[
    str, Field(strict=True, max_length=TIME_CHARS_MAX, json_schema_extra={"format": "date-time"}), AfterValidator(_time)
]
Base64 = Annotated[str, Field(strict=True, json_schema_extra={"contentEncoding": "base64"}), AfterValidator(_base64)]
ExtensionText = Annotated[str, Field(strict=True, max_length=VALUE_CHARS_MAX), _CLEAN]
ExtensionInteger = Annotated[StrictInt, Field(ge=-(2**31), le=2**31 - 1)]


class CloudEvent(BaseModel):
    """One CloudEvent 1.0 in its JSON format. Any other member is an extension attribute: a string, a boolean or a 32 bit integer."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, ExtensionText | StrictBool | ExtensionInteger | None]

    specversion: Literal["1.0"]
    id: Id
    source: Source
    type: Type
    time: Time | None = None
    subject: Value | None = None
    datacontenttype: Value | None = None
    dataschema: Value | None = None
    data: Any = None
    data_base64: Base64 | None = None

    @model_validator(mode="after")
    def _extensions(self) -> Self:
        names = [name for name, value in (self.__pydantic_extra__ or {}).items() if value is not None]
        if len(names) > EXTENSIONS_MAX:
            raise ValueError(f"{len(names)} extension attributes; at most {EXTENSIONS_MAX} are taken")
        for name in self.__pydantic_extra__ or {}:
            if not EXTENSION_NAME.fullmatch(name):
                raise ValueError(f"extension {name[:80]!r}: names are 1 to 20 characters of a-z and 0-9")
        return self

    @model_validator(mode="after")
    def _one_data(self) -> Self:
        if self.data is not None and self.data_base64 is not None:
            raise ValueError("`data` and `data_base64` exclude each other")
        return self
