"""[control]: what concerns everyone, by key `operation/<id>`, `hold/<id>`, `key/<id>`, and what it says taken together. No I/O.

A hold is in effect while its record is there; a tombstone releases it. A revoked key keeps its record, so that lists show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import structlog

from streams.commands import Operation
from streams.settings import Verb

_log = structlog.get_logger(__name__)

#: Of each only so many are remembered: of operations and keys the oldest give way, a hold beyond it is not made.
OPERATIONS_MAX = 10_000
KEYS_MAX = 10_000
HOLDS_MAX = 10_000


class Hold(msgspec.Struct, omit_defaults=True, frozen=True):
    """No delivery of these artifacts to this component begins. `artifacts`: glob patterns, () is all; `component`: "" is all."""

    id: str
    verb: Literal["hold", "pause", "halt"]
    artifacts: tuple[str, ...] = ()
    component: str = ""
    principal: str = ""
    reason: str = ""
    at_ms: int = 0
    rule: str = ""  # the policy that made it, if no person did


class ApiKey(msgspec.Struct, omit_defaults=True, frozen=True):
    """A key `sm_<id>_<secret>`, of which `hash` is all that is known: SHA-256 of the secret, hex. `scopes`: () is all the principal may."""

    id: str
    principal: str
    hash: str
    scopes: tuple[Verb, ...] = ()
    created_ms: int = 0
    created_by: str = ""
    expires_ms: int = 0  # 0: never
    revoked_ms: int = 0
    description: str = ""

    def good(self, now_ms: int) -> bool:
        return not self.revoked_ms and not self.expired(now_ms)

    def expired(self, now_ms: int) -> bool:
        return 0 < self.expires_ms <= now_ms


Entry = Operation | Hold | ApiKey
_PREFIXES: dict[type[Entry], str] = {Operation: "operation/", Hold: "hold/", ApiKey: "key/"}
_decoders = {prefix: msgspec.json.Decoder(kind) for kind, prefix in _PREFIXES.items()}


def control_key(kind: type[Entry], ident: str) -> bytes:
    return (_PREFIXES[kind] + ident).encode()


class Contents:
    """What the records say, taken in log order. Dictionaries are by id, the oldest first."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.holds: dict[str, Hold] = {}
        self.keys: dict[str, ApiKey] = {}
        self._by_prefix: dict[str, dict[str, Any]] = {"operation/": self.operations, "hold/": self.holds, "key/": self.keys}

    def take(self, records: Sequence[Any]) -> bool:
        """Apply records; what has another key is somebody else's. Whether holds or keys may be others now."""
        changed = False
        for record in records:
            prefix, slash, ident = (record.key or b"").decode(errors="replace").partition("/")
            entries = self._by_prefix.get(prefix + slash)
            if entries is not None:
                entries.pop(ident, None)
                if record.value is not None:
                    self._put(prefix + slash, ident, record.value)
                changed |= entries is not self.operations
        return changed

    def _put(self, prefix: str, ident: str, value: bytes) -> None:
        try:
            self._by_prefix[prefix][ident] = _decoders[prefix].decode(value)
        except msgspec.MsgspecError as exc:
            _log.error(
                "a record of the control topic is not understood; is this process older?", key=prefix + ident, error=str(exc)
            )
            if prefix == "hold/":  # whatever it stops, this stops too
                self.holds[ident] = Hold(
                    ident, "halt", reason="this record is not understood; update this process, or release it"
                )
        if len(self.operations) > OPERATIONS_MAX:
            del self.operations[next(iter(self.operations))]

    def superfluous_operation(self) -> str | None:
        """The oldest, once there is no room for one more."""
        return next(iter(self.operations)) if len(self.operations) >= OPERATIONS_MAX else None

    def superfluous_key(self, now_ms: int) -> str | None:
        """The oldest that is revoked or has expired, once there is no room for one more."""
        if len(self.keys) < KEYS_MAX:
            return None
        return next((ident for ident, key in self.keys.items() if not key.good(now_ms)), None)
