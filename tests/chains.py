"""Audit chains for tests: records as the log would have them, checkpoints over them, and exports of both."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from nacl.signing import SigningKey

from streams.ed25519 import key_id
from tables.audit_checkpoint import Checkpoint, Trust, TrustedKey, signed
from tables.audit_export import Begin, End, Line, line, verify_lines
from tables.audit_record import CHAIN_START, AuditRecord, Outcome, chain
from tables.audit_report import Report
from tables.audit_verify import Anchor, Stored

CLUSTER, TOPIC = "test", "syncmaster.audit"
KEY = SigningKey(bytes(range(32)))
OTHER_KEY = SigningKey(bytes(32))
TRUST = Trust([TrustedKey(KEY.verify_key)])


def record(seq: int, detail: str = "") -> bytes:
    return msgspec.json.encode(AuditRecord(f"events-0-{seq}", seq, 1000 + seq, Outcome.ACCEPTED, "chart/a", detail=detail))


def chained(values: Iterable[bytes], partition: int = 0, *, previous: str = CHAIN_START, offset: int = 0) -> list[Stored]:
    """As the log has them: offsets with a gap for a commit marker now and then."""
    stored = []
    for number, value in enumerate(values):
        previous = chain(previous, value)
        stored.append(Stored(partition, offset + number + number // 3, previous, value))
    return stored


def records(count: int, partition: int = 0) -> list[Stored]:
    return chained((record(seq) for seq in range(count)), partition)


def checkpoint(chain: list[Stored], seq: int, *, key: SigningKey = KEY, at_ms: int = 5000) -> Checkpoint:
    """That `seq` records of this chain were there."""
    head = chain[seq - 1].chain if seq else CHAIN_START
    return signed(Checkpoint(CLUSTER, TOPIC, chain[0].partition, seq, head, at_ms, "c0ffee", key_id(key.verify_key)), key)


def marker(chain: list[Stored]) -> Anchor:
    return Anchor(chain[0].partition, len(chain), chain[-1].chain)


def export(*items: Line, partitions: int = 1, begins: dict[int, int] | None = None) -> list[bytes]:
    """The lines of a whole export."""
    begins = begins or dict.fromkeys(range(partitions), 0)
    begin = Begin(CLUSTER, TOPIC, 9000, begins, {partition: begin + 1000 for partition, begin in begins.items()})
    return [line(item) for item in (begin, *items, End(len(items)))]


def verified(*items: Line, trust: Trust = TRUST, begins: dict[int, int] | None = None, partitions: int = 1) -> Report:
    return verify_lines(export(*items, begins=begins, partitions=partitions), trust)


def faults(report: Report) -> list[tuple[str, int | None, int, int | None]]:
    return [(fault.kind, fault.partition, fault.seq, fault.offset) for fault in report.faults]
