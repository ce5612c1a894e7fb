"""A signed statement of how far one partition's audit chain was: sign and verify. Who makes them: `agents/checkpointer.py`.

The signature is over `signed_bytes`, not over JSON: one line per field, none of which can hold a line break. So whoever has the chain's
last records and one later checkpoint can prove that nothing before it was altered, dropped, reordered or doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from nacl.signing import SigningKey, VerifyKey

from streams import ed25519
from streams.settings_audit import Audit

_HEADER = "syncmaster-audit-checkpoint-v1"


class Checkpoint(msgspec.Struct, frozen=True, tag="checkpoint", tag_field="kind"):
    """`seq` records were in the chain, and `head` was the link of the last of them."""

    cluster: str
    topic: str
    partition: int
    seq: int
    head: str  # hex
    at_ms: int
    config: str  # Settings.config_hash of the worker
    key: str  # `ed25519.key_id`
    signature: str = ""  # hex

    @property
    def signed_bytes(self) -> bytes:
        fields = (self.cluster, self.topic, self.partition, self.seq, self.head, self.at_ms, self.config, self.key)
        return "\n".join([_HEADER, *map(str, fields), ""]).encode()


def signed(checkpoint: Checkpoint, key: SigningKey) -> Checkpoint:
    """With this key's id and signature."""
    named = msgspec.structs.replace(checkpoint, key=ed25519.key_id(key.verify_key), signature="")
    return msgspec.structs.replace(named, signature=key.sign(named.signed_bytes).signature.hex())


class TrustedKey(msgspec.Struct, frozen=True):
    key: VerifyKey
    until: datetime | None = None


class Trust:
    """The keys whose signatures count."""

    def __init__(self, keys: Iterable[TrustedKey]) -> None:
        self._keys: Mapping[str, TrustedKey] = {ed25519.key_id(trusted.key): trusted for trusted in keys}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def doubt(self, checkpoint: Checkpoint) -> str:
        """Why this checkpoint does not count; empty if it does."""
        trusted = self._keys.get(checkpoint.key)
        if trusted is None:
            known = ", ".join(sorted(self._keys)) or "none"
            return f"it is signed with the key {checkpoint.key}, which is not among those trusted ({known})"
        if not ed25519.is_signed(trusted.key, checkpoint.signed_bytes, checkpoint.signature):
            return f"its signature is not that of the key {checkpoint.key}"
        if trusted.until is not None and checkpoint.at_ms > trusted.until.timestamp() * 1000:
            return f"its key {checkpoint.key} was retired before it was signed"
        return ""


def trust_of(audit: Audit) -> Trust:
    """The signing key's own, where it can be read, and those listed. Raises ConfigError for a signing key that is none."""
    keys = [TrustedKey(ed25519.verify_key(each.public_key), each.until) for each in audit.verify_keys]
    if audit.signing_key is not None:
        keys.append(TrustedKey(ed25519.signing_key(audit.signing_key.reveal()).verify_key))
    return Trust(keys)
