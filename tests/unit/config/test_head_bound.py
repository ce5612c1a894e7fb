"""The bound of a head: the sizes that the lint reckons with are those of the model at its greatest."""

from __future__ import annotations

import msgspec

from agents.dedup import HEAD_TAKEN_MAX, event_hash
from agents.sync_state import ERROR_CHARACTERS_MAX
from streams.artifact_identity import VERSION_CHARS_MAX
from streams.config_lint import HEAD_BASE_BYTES, PAIR_BYTES_MAX
from streams.envelope import ID_CHARS_MAX, SOURCE_CHARS_MAX, TIME_CHARS_MAX, TYPE_CHARS_MAX
from streams.settings import Limits
from tables.model import Head, Provenance, Sync

NAME = "n" * 42
VERSION = "v" * VERSION_CHARS_MAX
MILLISECONDS = 10**13
COUNT = 2**53


def widest(kind: type[Sync], **texts: str) -> Sync:
    """A pair whose every number is as long as it can be."""
    return msgspec.convert(
        {
            field.name: MILLISECONDS if field.name.endswith("_ms") else COUNT
            for field in msgspec.structs.fields(kind)
            if field.type is int
        }
        | {"state": "in_sync"}
        | texts,
        kind,
    )


def head(pairs: int) -> bytes:
    provenance = Provenance(
        id="i" * ID_CHARS_MAX,
        source="s" * SOURCE_CHARS_MAX,
        type="t" * TYPE_CHARS_MAX,
        principal=NAME,
        stream=f"SM_IN_{NAME}",
        mark=(COUNT, COUNT, COUNT),
        ingress_ms=MILLISECONDS,
        cluster=NAME,
        time="t" * TIME_CHARS_MAX,
        hlc=f"{MILLISECONDS}.{COUNT}@{NAME}",
    )
    pair = widest(Sync, version=VERSION, last_error="e" * ERROR_CHARACTERS_MAX, command="c" * 36)
    return msgspec.json.encode(
        Head(
            version=VERSION,
            newest=VERSION,
            digest="sha256:" + "0" * 64,
            generation=COUNT,
            provenance=provenance,
            sync={f"{index:042}": pair for index in range(pairs)},
            taken_hashes=event_hash("p", "s", "i") * HEAD_TAKEN_MAX,
            accepted=COUNT,
        )
    )


def test_a_head_without_pairs_is_within_its_share() -> None:
    """Everything of a head but its pairs fits the share that the lint reckons with, and the share is not idle."""
    assert HEAD_BASE_BYTES * 0.8 < len(head(0)) <= HEAD_BASE_BYTES


def test_a_pair_is_within_its_share() -> None:
    """The widest pair adds no more than the lint reckons with, and the share is not idle."""
    assert PAIR_BYTES_MAX * 0.8 < len(head(5)) - len(head(4)) <= PAIR_BYTES_MAX


def test_the_defaults_carry_the_orbit_topology() -> None:
    """Four components fit the default bound at their widest."""
    assert len(head(4)) <= Limits().head_bytes_max
