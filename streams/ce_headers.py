"""CloudEvents attributes as headers, `ce-*`, and back: names and percent-encoding, one rule for HTTP and NATS. Checks nothing else.

Both bindings say the same in their sections 3.1.3.2: space, `"`, `%` and everything outside U+0021 to U+007E is encoded as UTF-8 bytes;
a reader takes quoted strings too, decodes once, and refuses what is then not UTF-8. Doors pass header values on as they
came; decoding happens once, in `cloudevents.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from streams.errors import Malformed

PREFIX = "ce-"
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_is_safe = re.compile("[!#$&-~]*").fullmatch  # the same characters: looking costs a tenth of quoting
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def door_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What a door keeps of a message's headers, for `Incoming.headers`: `ce-*` and `content-type`, names in lower case."""
    lowered = ((name.lower(), value) for name, value in headers.items())
    return {name: value for name, value in lowered if name == "content-type" or name.startswith(PREFIX)}


def attributes_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a binary-mode message. `ce-datacontenttype` (NATS) goes before `content-type` (HTTP)."""
    attributes = {name[len(PREFIX) :]: decode_value(value) for name, value in headers.items() if name.startswith(PREFIX)}
    if "content-type" in headers:
        attributes.setdefault("datacontenttype", headers["content-type"])
    return attributes


def to_binary_headers(attributes: Mapping[str, str]) -> dict[str, str]:
    """`ce-*` headers of a binary-mode message, for HTTP and for NATS. The content type is the caller's header."""
    return {PREFIX + name: encode_value(value) for name, value in attributes.items()}


def encode_value(value: str) -> str:
    return value if _is_safe(value) else quote(value, safe=_SAFE)


def decode_value(value: str) -> str:
    """Raises Malformed where the percent-encoded bytes are not UTF-8."""
    value = value.strip(" \t")
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _QUOTED_PAIR.sub(r"\1", value[1:-1])
    if "%" not in value:
        return value
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise Malformed("attribute.invalid", f"found {value[:80]!a}; expected percent-encoded UTF-8") from None
