"""What is kept of a message that is not an event: its original bytes, and why. Releasing and parking come with the policies."""

from __future__ import annotations

from binascii import b2a_base64

from streams.errors import Malformed
from streams.events import Incoming
from streams.ingress import Ingress
from tables.model import Quarantined


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
