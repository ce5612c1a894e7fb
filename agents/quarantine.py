"""What is kept of a message that is not an event: its original bytes, and why. Releasing and parking come with the policies."""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any

import msgspec

from streams.errors import Malformed
from streams.events import Incoming
from streams.ingress import Ingress
from tables.model import Quarantined

_NAME_CHARS_MAX = 256


class _Names(msgspec.Struct):
    id: Any = None
    source: Any = None
    type: Any = None


_names_decoder = msgspec.json.Decoder(_Names)


def quarantined(incoming: Incoming, ingress: Ingress, why: Malformed, now_ms: int) -> Quarantined:
    return Quarantined(
        reason=why.code,
        detail=why.detail,
        rule="decode",
        principal=ingress.principal,
        ingress=ingress.encode().decode(),
        headers=incoming.headers,
        body_base64=b2a_base64(incoming.body, newline=False).decode(),
        at_ms=now_ms,
    )


def names_of(incoming: Incoming) -> dict[str, str]:
    """The event's id, source and type as far as they can be told, so that its producer can ask what became of it."""
    names: Any = _Names(*(incoming.headers.get(f"ce-{name}") for name in ("id", "source", "type")))
    if names.id is None:
        try:
            names = _names_decoder.decode(incoming.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return {}
    found = {"event_id": names.id, "source": names.source, "type": names.type}
    return {field: value[:_NAME_CHARS_MAX] for field, value in found.items() if isinstance(value, str)}
