"""The audit records of one turn, and the chain that they prolong. What a record is: `tables/audit_record.py`."""

from __future__ import annotations

from binascii import hexlify
from typing import Any

import msgspec

from streams.record_batch import Record
from tables.audit_record import CHAIN_HEADER, CHAIN_START, AuditRecord, Outcome, link
from tables.model import Marker

_encode = msgspec.json.Encoder().encode


class AuditTrail:
    """Collects records in order; each one's link covers all before it in the partition, from the marker's head on."""

    def __init__(self, marker: Marker, at_ms: int, config_hash: str) -> None:
        self.seq = marker.audit_seq
        self._link = bytes.fromhex(marker.audit_head or CHAIN_START)
        self.records: list[Record] = []
        self.at_ms = at_ms
        self.config = config_hash

    def append(self, record: AuditRecord) -> None:
        """`record` has this trail's `seq`, `at_ms` and `config`."""
        value = _encode(record)
        self._link = link(self._link, value)
        self.seq += 1
        self.records.append((record.artifact.encode(), value, [(CHAIN_HEADER, hexlify(self._link))]))

    @property
    def head(self) -> str:
        """Hex, as the marker keeps it."""
        return self._link.hex()

    def add(self, ident: str, outcome: Outcome, artifact: str, **fields: Any) -> None:
        self.append(
            AuditRecord(
                id=ident, seq=self.seq, at_ms=self.at_ms, outcome=outcome, artifact=artifact, config=self.config, **fields
            )
        )
