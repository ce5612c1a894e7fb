"""One record of [audit], and the chain that binds a partition's records. Who writes which: `agents/audit.py`.

The leaf is the record's value, as stored; nothing is ever serialised again to verify. The header `sm-chain` holds
`chain(previous, value)` in hex; the first record's previous is 64 zeros.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

import msgspec

CHAIN_HEADER = "sm-chain"
CHAIN_START = "0" * 64


class Outcome(StrEnum):
    """DESIGN's words, used one way everywhere."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    DELIVERED = "delivered"
    FAILED = "failed"
    COMMAND = "command"
    CONFIGURATION = "configuration"


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


def link(previous: bytes, value: bytes) -> bytes:
    """SHA-256 over the previous link's 32 bytes and the stored value."""
    return hashlib.sha256(previous + value).digest()


def chain(previous: str, value: bytes) -> str:
    """`link` in hex, as headers and markers have it."""
    return link(bytes.fromhex(previous), value).hex()
