"""Random chains, and random things done to them: verification is silent about the first and names the place of the second."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tables.audit_verify import Stored
from tests.chains import checkpoint, faults, marker, record, records, verified

LENGTHS = st.integers(1, 40)


def with_checkpoints(chain: list[Stored], seqs: set[int]) -> list[object]:
    """Each right before the record that completes it."""
    items: list[object] = []
    for number, stored in enumerate(chain):
        items += [checkpoint(chain, number + 1)] if number + 1 in seqs else []
        items.append(stored)
    return items


@settings(deadline=None)
@given(LENGTHS, st.sets(st.integers(1, 40)), st.booleans())
def test_whole_chains_are_whole(length: int, seqs: set[int], is_marked: bool) -> None:
    """No chain that was written as it should be raises an alarm, wherever its checkpoints are."""
    chain = records(length)
    report = verified(*([marker(chain)] if is_marked else []), *with_checkpoints(chain, seqs))  # type: ignore[arg-type]
    assert (report.faults, report.records, report.checkpoints) == ([], length, len({s for s in seqs if s <= length}))


@settings(deadline=None)
@given(st.data(), LENGTHS)
def test_what_is_done_to_a_chain_is_found(data: st.DataObject, length: int) -> None:
    """Whatever is altered, dropped, reordered, doubled or cut, the first record that it happened to is named."""
    chain = records(length)
    end = marker(chain)
    at = data.draw(st.integers(0, length - 1))
    done = data.draw(st.sampled_from(["altered", "dropped", "reordered", "doubled"]))
    if done == "altered":
        position = data.draw(st.integers(0, len(chain[at].value) - 1))
        value = bytearray(chain[at].value)
        value[position] ^= data.draw(st.integers(1, 255))
        chain[at] = replace(chain[at], value=bytes(value))
    elif done == "dropped":
        del chain[at : at + data.draw(st.integers(1, length))]
    elif done == "doubled":
        chain.insert(data.draw(st.integers(at + 1, length)), chain[at])
    else:
        other = data.draw(st.integers(at, length - 1))
        chain[at], chain[other] = chain[other], chain[at]
        if at == other:
            assert verified(end, *chain).faults == []
            return
    (fault,) = verified(end, *chain).faults
    assert (fault.partition, fault.seq) == (0, at)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.builds(record, st.integers(0, 3)), st.text("0123456789abcdefxyz", max_size=64))
def test_garbage(value: bytes, link: str) -> None:
    """Whatever stands in the log, verification says so and does not fall over."""
    chain = records(3)
    assert faults(verified(chain[0], replace(chain[1], value=value, chain=link), chain[2])) or (value, link) == (
        chain[1].value,
        chain[1].chain,
    )
