"""One record of [audit], and the chain that binds a partition's records. Who writes which: `agents/audit.py`.

The leaf is the record's value, as stored; nothing is ever serialised again to verify. The header `sm-chain` holds
`chain(previous, value)` in hex; the first record's previous is 64 zeros.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from tables.model import Head

CHAIN_HEADER = "sm-chain"
CHAIN_START = "0" * 64
#: W3C Trace Context, version 00 and what later versions must keep of it: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Outcome(StrEnum):
    """DESIGN's words, used one way everywhere."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    DELIVERED = "delivered"
    FAILED = "failed"
    COMMAND = "command"
    CONFIGURATION = "configuration"  # a partition's worker began under another configuration than the records before
    LOGIN_REFUSED = "login_refused"
    KEY = "key"  # an API key was made or revoked

    #: Enum's own is written in Python; these count events.
    __hash__ = str.__hash__


class AuditRecord(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """What became of one event, delivery or command. `id` is made from a log position, so a repetition has the same."""

    id: str  # `<topic>-<partition>-<offset>` of the cause; receipts: `receipt-<partition>-<turn>-<n>`
    seq: int  # in the partition's chain, from 0, without holes
    at_ms: int
    outcome: Outcome
    artifact: str = ""
    principal: str = ""
    source: str = ""
    event_id: str = ""
    type: str = ""
    version: str = ""
    digest: str = ""
    generation: int = 0
    component: str = ""
    code: str = ""  # stable reason, e.g. `publish.not_allowed`
    detail: str = ""
    rule: str = ""
    config: str = ""  # Settings.config_hash that judged
    ingress: str = ""  # the `sm-ingress` header of the event
    superseded: int = 0  # with `delivered`: how many older desired generations this delivery made pointless
    attempts: int = 0
    command: str = ""
    remote: str = ""  # from where, as the gateway saw it: commands, logins, keys
    trace: str = ""  # trace id of the event's `traceparent`, 32 hex
    before: str = ""  # `state_digest` of the artifact that the event met; empty: there was none
    after: str = ""  # and that it left; given with `accepted`, with all else nothing has changed


def link(previous: bytes, value: bytes) -> bytes:
    """SHA-256 over the previous link's 32 bytes and the stored value."""
    return hashlib.sha256(previous + value).digest()


def chain(previous: str, value: bytes) -> str:
    """`link` in hex, as headers and markers have it."""
    return link(bytes.fromhex(previous), value).hex()


def state_digest(head: Head | None) -> str:
    """16 hex over what only events change of their artifact: version, digest, action, how many were accepted; "" where there is no artifact.

    Not over deliveries, holds and provenance. About half a microsecond: BLAKE2b, for the hot path makes one of each accepted event.
    """
    if head is None:
        return ""
    state = f"{head.version}\0{head.digest}\0{head.action}\0{head.accepted}"
    return hashlib.blake2b(state.encode(), digest_size=8).hexdigest()


def trace_id(extensions: Mapping[str, Any]) -> str:
    """Of CloudEvents' distributed tracing extension; "" where there is none, or none that W3C Trace Context allows."""
    parent = extensions.get("traceparent")
    found = _TRACEPARENT.fullmatch(parent) if isinstance(parent, str) else None
    return found[1] if found else ""
