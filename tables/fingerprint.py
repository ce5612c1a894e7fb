"""Whether a changelog is still the one that a store was made from: a fingerprint of the last record that the store has applied.

An offset alone does not tell. A log that lost its tail and has grown again has an offset of before for another record; a store that goes on
from there would be made of two histories. The record's time is part of the fingerprint, so a record that looks the same, written
again after the loss, is another one.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Any, NamedTuple

_OFFSET = struct.Struct(">Q")
_TIME = struct.Struct(">q")
_DIGEST_BYTES = 16


class Fingerprint(NamedTuple):
    """Of the record at `offset`, which lies below the position that it stands for: control records may lie between."""

    offset: int
    digest: bytes

    @classmethod
    def of(cls, offset: int, timestamp_ms: int, key: bytes, value: bytes | None) -> Fingerprint:
        content = blake2b(_TIME.pack(timestamp_ms), digest_size=_DIGEST_BYTES)
        content.update(key)
        content.update(b"\x00" if value is None else b"\x01" + value)
        return cls(offset, content.digest())

    @classmethod
    def of_record(cls, record: Any) -> Fingerprint:
        """`record` is aiokafka's."""
        return cls.of(record.offset, record.timestamp, record.key, record.value)

    def encode(self) -> bytes:
        return _OFFSET.pack(self.offset) + self.digest

    @classmethod
    def decode(cls, raw: bytes) -> Fingerprint:
        return cls(_OFFSET.unpack_from(raw)[0], raw[_OFFSET.size :])
