"""The file of `syncmaster audit export`: JSON lines, one item each, to verify the audit anywhere and at any time. Pure; reading: `audit_scan.py`.

{"kind":"begin", …}       whose log, and which offsets of each partition
{"kind":"marker", …}      what the state says about the chain's end, one per partition
{"kind":"checkpoint", …}  signed; before the record that it is about
{"kind":"record", …}      partition, offset, link, and the stored bytes in base64
{"kind":"end", …}         how many items there were: a file without it was cut
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from streams.errors import Malformed
from tables.audit_checkpoint import Checkpoint, Trust
from tables.audit_report import Report, Verification
from tables.audit_verify import Anchor, Fault, Stored

FORMAT = 1
LINE_BYTES_MAX = 16 << 20


class Begin(msgspec.Struct, frozen=True, tag="begin", tag_field="kind"):
    cluster: str
    topic: str
    at_ms: int
    begins: dict[int, int]  # partition -> its first offset; above 0 where retention has deleted what was before
    ends: dict[int, int]  # partition -> the offset up to which it was read
    format: int = FORMAT


class End(msgspec.Struct, frozen=True, tag="end", tag_field="kind"):
    items: int


Line = Begin | Anchor | Checkpoint | Stored | End
_decoder = msgspec.json.Decoder(Line)
_encode = msgspec.json.Encoder().encode


def line(item: Line) -> bytes:
    return _encode(item) + b"\n"


def items_of(lines: Iterable[bytes]) -> Iterator[Line]:
    """Raises Malformed, with the line's number, for what no export has."""
    for number, raw in enumerate(lines, start=1):
        try:
            yield _decoder.decode(raw)
        except msgspec.MsgspecError as exc:
            raise Malformed("export.line", f"line {number} is not a line of an export ({exc})") from None


def verify_lines(lines: Iterable[bytes], trust: Trust, extra: Iterable[Checkpoint] = ()) -> Report:
    """What an export proves. `extra`: checkpoints that somebody kept elsewhere, in any order. Raises Malformed for what is no export."""
    items = items_of(lines)
    begin = next(items, None)
    if not isinstance(begin, Begin) or begin.format != FORMAT:
        raise Malformed("export.begin", "this is no export of an audit: its first line is not a `begin` of this version")
    verification = Verification(begin.begins, trust, cluster=begin.cluster, topic=begin.topic)
    for checkpoint in extra:
        verification.take(checkpoint)
    count = 0
    end: Line | None = None
    for item in items:
        if end is not None or isinstance(item, Begin | End):
            end = item
        else:
            verification.take(item)
            count += 1
    report = verification.report()
    if not isinstance(end, End) or end.items != count:
        report.faults.append(Fault("cut", None, 0, None, f"the file is not whole: its `end` does not stand behind {count} items"))
    return report
