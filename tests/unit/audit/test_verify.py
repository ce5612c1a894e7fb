"""What verification of an audit says: of a whole one, and of each thing that can be done to it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from streams.errors import Malformed
from tables.audit_checkpoint import Trust, TrustedKey
from tables.audit_export import line, verify_lines
from tables.audit_verify import Anchor, Stored
from tests.chains import (
    KEY,
    OTHER_KEY,
    TRUST,
    chained,
    checkpoint,
    export,
    faults,
    marker,
    record,
    records,
    verified,
)


def test_whole() -> None:
    """A whole audit is so, with the number of its records and of the checkpoints that were compared."""
    one, other = records(6), records(3, partition=1)
    report = verified(marker(one), checkpoint(one, 2), checkpoint(one, 6), *one, checkpoint(other, 3), *other, partitions=2)
    assert (report.records, report.checkpoints, report.faults, report.notes) == (9, 2 + 1, [], [])


def test_empty() -> None:
    """A partition without a record is whole."""
    report = verified(Anchor(0, 0, ""), checkpoint(records(1), 0))
    assert (report.records, report.faults) == (0, [])


@pytest.mark.parametrize("field", ["value", "chain"])
def test_altered(field: str) -> None:
    """A record whose bytes or link were changed is named."""
    chain = records(6)
    chain[2] = replace(chain[2], **{field: record(2, "other") if field == "value" else "0" * 64})
    assert faults(verified(*chain)) == [("altered", 0, 2, chain[2].offset)]


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", b'{"seq":"2"}', record(7)])
def test_altered_beyond_recognition(value: bytes) -> None:
    """A record that is no audit record any more, or whose number was changed, is named."""
    chain = records(6)
    chain[2] = replace(chain[2], value=value)
    assert faults(verified(*chain)) == [("altered", 0, 2, chain[2].offset)]


def test_altered_and_computed_anew() -> None:
    """Whoever changes a record and computes the chain anew is found by the next checkpoint, which tells from where on."""
    chain = records(8)
    forged = chained(record(seq, "other" if seq == 5 else "") for seq in range(8))
    report = verified(checkpoint(chain, 3), checkpoint(chain, 7), *forged)
    assert faults(report) == [("altered", 0, 3, forged[3].offset)]


@pytest.mark.parametrize("count", [1, 2])
def test_dropped(count: int) -> None:
    """Records that were taken out are named, at the offset where they are missed."""
    chain = records(6)
    report = verified(*chain[:2], *chain[2 + count :])
    assert faults(report) == [("dropped", 0, 2, chain[2 + count].offset)]
    assert ("seq 2 is missing" if count == 1 else "seq 2 to 3 are missing") in report.faults[0].detail


def test_first_dropped() -> None:
    """A log that begins at its beginning and not with seq 0 has lost records."""
    assert faults(verified(*records(4)[1:])) == [("dropped", 0, 0, 1)]


def test_reordered() -> None:
    """A record that stands behind a later one is named."""
    chain = records(6)
    chain[2], chain[4] = chain[4], chain[2]
    assert faults(verified(*chain)) == [("reordered", 0, 2, chain[4].offset)]


def test_doubled() -> None:
    """A record that stands twice is named."""
    chain = records(6)
    again = replace(chain[1], offset=99)
    assert faults(verified(*chain[:4], again, *chain[4:])) == [("doubled", 0, 1, 99)]


@pytest.mark.parametrize("witness", ["checkpoint", "marker"])
def test_cut(witness: str) -> None:
    """Records missing at the end are found by a checkpoint, or by the marker."""
    chain = records(6)
    anchor = checkpoint(chain, 6) if witness == "checkpoint" else marker(chain)
    assert faults(verified(anchor, *chain[:4])) == [("cut", 0, 4, None)]
    assert faults(verified(anchor)) == [("cut", 0, 0, None)]


def test_cut_file() -> None:
    """A file that ends early is not whole, though all that is there be right."""
    lines = export(*records(4))
    assert [fault.kind for fault in verify_lines(lines[:-1], TRUST).faults] == ["cut"]
    assert [fault.kind for fault in verify_lines([*lines[:4], lines[-1]], TRUST).faults] == ["cut"]


def test_forged_checkpoint() -> None:
    """A checkpoint whose signature is not that of its key is named."""
    chain = records(4)
    forged = replace(checkpoint(chain, 4), seq=3, head=chain[2].chain)
    assert [(fault.kind, fault.seq) for fault in verified(forged, *chain).faults] == [("forged", 3)]


def test_wrong_key() -> None:
    """A checkpoint signed with a key that is not trusted is named, whatever it says."""
    chain = records(4)
    report = verified(checkpoint(chain, 4, key=OTHER_KEY), *chain)
    assert "not among those trusted" in report.faults[0].detail


def test_checkpoint_of_another_log() -> None:
    """A checkpoint about another cluster's audit does not count here, though its signature be right."""
    chain = records(4)
    lines = [raw.replace(b'"cluster":"test"', b'"cluster":"prod"', 1) for raw in export(*chain)]
    report = verify_lines([lines[0], line(checkpoint(chain, 4)), *lines[1:]], TRUST)
    assert "about syncmaster.audit of test" in report.faults[0].detail


def test_rotated_keys() -> None:
    """Checkpoints of a retired key count up to its end, those that claim to be later do not."""
    trust = Trust([TrustedKey(KEY.verify_key, datetime.fromtimestamp(6, UTC)), TrustedKey(OTHER_KEY.verify_key)])
    chain = records(6)
    early, late = checkpoint(chain, 2, at_ms=5000), checkpoint(chain, 4, key=OTHER_KEY, at_ms=8000)
    assert verified(early, late, *chain, trust=trust).checkpoints == 2
    retired = verified(early, checkpoint(chain, 4, at_ms=8000), *chain, trust=trust)
    assert "was retired" in retired.faults[0].detail


def test_without_keys() -> None:
    """Without a key, checkpoints are compared all the same, and it is said that nobody checked their signatures."""
    chain = records(4)
    report = verified(checkpoint(chain, 4), *chain, trust=Trust([]))
    assert (report.faults, report.checkpoints, report.unsigned) == ([], 0, 1)
    assert "signatures not checked" in report.notes[0]


def test_checkpoint_hidden_behind() -> None:
    """A checkpoint that stands behind the record it is about could not be compared, which is told."""
    chain = records(4)
    assert faults(verified(*chain[:3], checkpoint(chain, 2), chain[3])) == [("reordered", 0, 2, None)]


def test_checkpoints_kept_elsewhere() -> None:
    """Checkpoints that a witness kept find what was changed together with those in the log."""
    chain = records(4)
    forged = chained(record(seq, "other") for seq in range(4))
    kept = [checkpoint(chain, 4), checkpoint(chain, 2)]
    assert verify_lines(export(*forged), TRUST).faults == []
    assert [fault.kind for fault in verify_lines(export(*forged), TRUST, kept).faults] == ["altered"]
    assert verify_lines(export(*chain), TRUST, kept).checkpoints == 2


class TestRetention:
    """A log whose first segments are gone."""

    def test_is_no_fault(self) -> None:
        """What retention deleted is no fault; it is said from which record on the log was verified."""
        chain = records(8)
        report = verified(checkpoint(chain, 2), checkpoint(chain, 7), *chain[4:], begins={0: 5})
        assert (report.faults, report.records, report.first) == ([], 4, {0: 5})
        assert "from seq 5 on" in report.notes[0]

    def test_first_record_is_covered_by_a_checkpoint(self) -> None:
        """With a checkpoint right before it, the first record that is left is covered too."""
        chain = records(8)
        assert verified(checkpoint(chain, 4), *chain[4:], begins={0: 5}).first == {0: 4}
        chain[4] = replace(chain[4], value=record(4, "other"))
        assert faults(verified(checkpoint(chain, 4), *chain[4:], begins={0: 5})) == [("altered", 0, 4, chain[4].offset)]

    def test_everything_is_gone(self) -> None:
        """A partition of which nothing is left raises no alarm and is not said to be verified."""
        chain = records(4)
        report = verified(checkpoint(chain, 4), begins={0: 7})
        assert (report.faults, report.first) == ([], {})
        assert "nothing was verified" in report.notes[0]

    def test_later_faults_are_found(self) -> None:
        """What was done to the records that are left is found."""
        chain = records(8)
        assert faults(verified(*chain[4:6], chain[7], begins={0: 5})) == [("dropped", 0, 6, chain[7].offset)]
        old = replace(chain[1], offset=50)
        assert faults(verified(*chain[4:], old, begins={0: 5})) == [("reordered", 0, 1, 50)]


@pytest.mark.parametrize("lines", [[], [b"not json\n"], [b'{"kind":"end","items":0}\n'], [b"\x00" * 100]])
def test_no_export(lines: list[bytes]) -> None:
    """A file that is no export is refused with a reason."""
    with pytest.raises(Malformed):
        verify_lines(lines, TRUST)


def test_unknown_partition() -> None:
    """A record of a partition that the log does not have is named."""
    stray = Stored(5, 0, "", b"{}")
    assert [fault.partition for fault in verified(*records(2), stray).faults] == [5]


def test_line_in_the_middle() -> None:
    """A line that is none is refused with its number."""
    lines = export(*records(2))
    with pytest.raises(Malformed, match="line 2 "):
        verify_lines([lines[0], b"{}", *lines[1:]], TRUST)


def test_bytes_survive() -> None:
    """An export has each record's bytes as they were stored."""
    (stored,) = chained([b'{"seq":0, "odd spacing": "\xc3\xa9"}'])
    assert msgspec.json.decode(line(stored), type=Stored) == stored
