"""Whether audit chains are whole: a pure verifier per partition, fed record by record. Where records come from: `audit_scan.py`, `audit_export.py`.

What holds the chain together: each record's header is the link over all before it, and *anchors* (signed checkpoints, the partition's
marker) say what the link was behind some record. The chain alone shows what was changed by somebody who did not compute it anew;
anchors show the rest, and that the end is missing. An anchor must be fed before the record that it is about.

A log whose first records were deleted by retention is no fault: it is verified from its first record on (`Chain.first`).
"""

from __future__ import annotations

import re
from heapq import heappop, heappush
from typing import Literal

import msgspec

from tables.audit_record import CHAIN_START, chain

Kind = Literal["altered", "dropped", "reordered", "doubled", "cut", "forged"]


class Stored(msgspec.Struct, frozen=True, tag="record", tag_field="kind", gc=False):
    """One record as the log has it: its bytes, and the link in its header."""

    partition: int
    offset: int
    chain: str
    value: bytes


class Anchor(msgspec.Struct, frozen=True, tag="marker", tag_field="kind"):
    """`seq` records were in the chain, and `head` was the link of the last of them. `told_by` says who knows."""

    partition: int
    seq: int
    head: str
    told_by: str = "the partition's marker"


class Fault(msgspec.Struct, frozen=True):
    """The first thing that is wrong in a partition, or (None) with a file as such. `offset` is where it shows, if at a record."""

    kind: Kind
    partition: int | None
    seq: int
    offset: int | None
    detail: str

    def __str__(self) -> str:
        if self.partition is None:
            return f"{self.kind}: {self.detail}"
        where = f"partition {self.partition}, seq {self.seq}" + ("" if self.offset is None else f", offset {self.offset}")
        return f"{self.kind}: {where}: {self.detail}"


_LINK = re.compile("[0-9a-f]{64}")


class _Numbered(msgspec.Struct):
    seq: int


_decode = msgspec.json.Decoder(_Numbered).decode


def seq_of(value: bytes) -> int | None:
    """None of what is no audit record."""
    try:
        return _decode(value).seq
    except msgspec.MsgspecError:
        return None


def _linked(previous: str, value: bytes) -> str:
    """The link; empty where the previous one is none, which fits nothing."""
    try:
        return chain(previous, value)
    except ValueError:
        return ""


def _plausible(link: str) -> str:
    """A link that can only be taken as it is: that of the first record which retention has left."""
    return link if _LINK.fullmatch(link) else "none"


class Chain:
    """One partition. Feed it with `anchor` and `take`, in the order of the log; `finish` says what is wrong, if anything is."""

    def __init__(self, partition: int, *, is_whole: bool) -> None:
        """`is_whole`: nothing was deleted by retention, so the chain begins with seq 0."""
        self.partition = partition
        self.records = 0
        self.anchors = 0  # compared
        self.first: int | None = None  # the first seq whose bytes are covered
        self.is_whole = is_whole
        self._begin_seq = 0  # of the first record that is there
        self._seq = 0  # of the next record, once there was one
        self._link = CHAIN_START  # of all before it; empty where retention took it
        self._waiting: list[tuple[int, int, Anchor]] = []  # a heap by seq
        self._told = 0  # anchors ever: what keeps those about one seq in order
        self._since: tuple[int, int | None] = (0, None)  # seq and offset of the first record behind the last anchor that fitted
        self._fault: Fault | None = None
        self._hole: Stored | None = None  # a record that came too early; whether what is missing comes later is still open

    @property
    def has_fault(self) -> bool:
        """Nothing more needs to be fed."""
        return self._fault is not None

    def anchor(self, anchor: Anchor) -> None:
        if self._fault is not None or self._hole is not None:
            return
        if self.records and anchor.seq < self._seq:
            self._wrong("reordered", anchor.seq, None, f"{anchor.told_by} comes behind the record that it is about")
            return
        self._told += 1
        heappush(self._waiting, (anchor.seq, self._told, anchor))
        self._compare()

    def take(self, stored: Stored) -> None:
        if self._fault is not None:
            return
        seq = seq_of(stored.value)
        if self._hole is not None:
            self._look_for_missing(seq, stored)
            return
        if not self.records:
            self._begin(seq)
        link = _linked(self._link, stored.value) if self._link else _plausible(stored.chain)
        if seq == self._seq and link == stored.chain:
            self._advance(stored, link)
        else:
            self._tell(seq, stored)

    def finish(self) -> Fault | None:
        """The first fault of the partition, once everything was fed."""
        if self._fault is None and self._hole is not None:
            self._dropped(self._hole)
        last = max((anchor for _, _, anchor in self._waiting), key=lambda anchor: anchor.seq, default=None)
        if self._fault is None and last is not None and last.seq > self._seq and (self.records or self.is_whole):
            told = f"{last.told_by} says that there were {last.seq} records; the end is missing"
            self._wrong("cut", self._seq, None, told)
        return self._fault

    def _begin(self, seq: int | None) -> None:
        if not self.is_whole and seq is not None:
            self._seq, self._begin_seq, self._link = seq, seq, ""
            while self._waiting and self._waiting[0][0] <= seq:
                _, _, anchor = heappop(self._waiting)
                self._link = anchor.head if anchor.seq == seq else ""
        self.first = self._seq if self._link else self._seq + 1
        self._since = (self._seq, None)

    def _advance(self, stored: Stored, link: str) -> None:
        if self._since[1] is None:
            self._since = (self._seq, stored.offset)
        self.records += 1
        self._seq += 1
        self._link = link
        if self._waiting:
            self._compare()

    def _compare(self) -> None:
        """With the anchors about the records so far. One that is about no record at all (seq 0) fits a chain that begins."""
        while self._waiting and (self.records or self.is_whole) and self._waiting[0][0] == self._seq:
            _, _, anchor = heappop(self._waiting)
            if anchor.head != self._link and anchor.seq:
                told = f"{anchor.told_by} has another head behind seq {anchor.seq - 1}; this or a later record was changed before that,"
                self._wrong("altered", *self._since, f"{told} and the chain computed anew")
                return
            self.anchors += 1
            self._since = (self._seq, None)

    # -- what is wrong ---------------------------------------------------------------------------------------------------------

    def _tell(self, seq: int | None, stored: Stored) -> None:
        if seq is None:
            self._wrong("altered", self._seq, stored.offset, "its bytes are no audit record")
        elif seq == self._seq:
            self._wrong("altered", seq, stored.offset, "its bytes do not fit its link; one of the two was changed")
        elif seq > self._seq:
            self._hole = stored
        elif seq >= self._begin_seq:
            self._wrong("doubled", seq, stored.offset, f"this seq stands here again; the next was to be {self._seq}")
        else:
            self._wrong("reordered", seq, stored.offset, "it stands behind later ones")

    def _look_for_missing(self, seq: int | None, stored: Stored) -> None:
        """Behind a record that came too early: is it this one, only renumbered; is what is missing here; or is it gone?"""
        early = self._hole
        assert early is not None
        if seq == self._seq:
            self._wrong("reordered", seq, stored.offset, f"it stands behind the record at offset {early.offset}, which is later")
        elif seq == self._seq + 1 and _linked(early.chain, stored.value) == stored.chain:
            self._wrong("altered", self._seq, early.offset, f"its seq was changed to {seq_of(early.value)}")

    def _dropped(self, early: Stored) -> None:
        found = seq_of(early.value)
        last = (found or 0) - 1
        missing = f"seq {self._seq} is" if last == self._seq else f"seq {self._seq} to {last} are"
        self._wrong("dropped", self._seq, early.offset, f"{missing} missing; seq {found} stands at this offset")

    def _wrong(self, kind: Kind, seq: int, offset: int | None, detail: str) -> None:
        self._fault = Fault(kind, self.partition, seq, offset, detail)
