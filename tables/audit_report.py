"""The chains of all partitions verified together, checkpoints' signatures included: what is said in the end. One chain: `audit_verify.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from tables.audit_checkpoint import Checkpoint, Trust
from tables.audit_verify import Anchor, Chain, Fault, Stored

Item = Stored | Anchor | Checkpoint


class Report(msgspec.Struct):
    """`first` has the first seq of each partition whose bytes are covered; partitions without a record are left out."""

    records: int
    checkpoints: int
    unsigned: int  # checkpoints whose signature nobody could check: no key is trusted
    first: dict[int, int]
    faults: list[Fault]  # at most one per partition, in their order
    notes: list[str]

    @property
    def is_whole(self) -> bool:
        return not self.faults


class Verification:
    """Feed it the items of each partition in the order of the log; a checkpoint or marker before the record that it is about."""

    def __init__(self, begins: Mapping[int, int], trust: Trust, *, cluster: str, topic: str) -> None:
        """`begins`: each partition's first offset; above 0 where retention has deleted what was before."""
        self._chains = {partition: Chain(partition, is_whole=begin == 0) for partition, begin in begins.items()}
        self._trust = trust
        self._about = (cluster, topic)
        self._forged: dict[int, Fault] = {}
        self._counts: Counter[str] = Counter()

    def take(self, item: Item) -> None:
        chain = self._chains.get(item.partition)
        if chain is None:
            fault = Fault("forged", item.partition, 0, None, "there is no such partition")
            self._forged.setdefault(item.partition, fault)
        elif isinstance(item, Stored):
            chain.take(item)
        elif isinstance(item, Anchor):
            chain.anchor(item)
        elif item.partition not in self._forged:
            self._take_checkpoint(chain, item)

    def _take_checkpoint(self, chain: Chain, checkpoint: Checkpoint) -> None:
        doubt = self._doubt(checkpoint)
        if doubt:
            told = f"the checkpoint that {checkpoint.seq} records were there does not count: {doubt}"
            self._forged[checkpoint.partition] = Fault("forged", checkpoint.partition, checkpoint.seq, None, told)
            return
        self._counts["checkpoints" if self._trust else "unsigned"] += 1
        by = f"the checkpoint signed with {checkpoint.key}" if self._trust else "a checkpoint (its signature was not checked)"
        chain.anchor(Anchor(checkpoint.partition, checkpoint.seq, checkpoint.head, by))

    def _doubt(self, checkpoint: Checkpoint) -> str:
        if (checkpoint.cluster, checkpoint.topic) != self._about:
            return f"it is about {checkpoint.topic} of {checkpoint.cluster}"
        return self._trust.doubt(checkpoint) if self._trust else ""

    def report(self) -> Report:
        ended = {partition: chain.finish() for partition, chain in sorted(self._chains.items())}
        faults = (ended.get(partition) or self._forged.get(partition) for partition in sorted({*ended, *self._forged}))
        return Report(
            records=sum(chain.records for chain in self._chains.values()),
            checkpoints=self._counts["checkpoints"],
            unsigned=self._counts["unsigned"],
            first={partition: chain.first for partition, chain in self._chains.items() if chain.first is not None},
            faults=[fault for fault in faults if fault is not None],
            notes=self._notes(),
        )

    def _notes(self) -> list[str]:
        notes = []
        for partition, chain in self._chains.items():
            if not chain.is_whole:
                told = f"verified from seq {chain.first} on" if chain.records else "has no records, so nothing was verified"
                notes.append(f"partition {partition}: retention has deleted what was before; {told}")
        if self._counts["unsigned"]:
            notes.append(
                f"{self._counts['unsigned']} checkpoints were compared and their signatures not checked: give the public key with --key"
            )
        if self._counts.total() == 0:
            notes.append(
                "there are no checkpoints (yet): whoever can write to the log could have computed the chain anew; see audit.signing_key"
            )
        return notes
