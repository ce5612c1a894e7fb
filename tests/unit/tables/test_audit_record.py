"""What an audit record says of state and trace, and when a configuration is noted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agents.audit import AuditTrail
from agents.config_change import note_configuration
from streams.events import Action
from tables.audit_record import AuditRecord, Outcome, state_digest, trace_id
from tables.model import Head, Marker, Provenance

PROVENANCE = Provenance("e1", "urn:s", "t", "c24", "SM_IN_c24", (1, 1, 0), 1, "test")
TRACE = "0af7651916cd43dd8448eb211c80319c"


def head(**fields: Any) -> Head:
    return Head(**{"version": "1.0.0", "digest": "sha256:ab", "generation": 1, "provenance": PROVENANCE} | fields)


@pytest.mark.parametrize(
    "changed",
    [{"version": "1.0.1"}, {"digest": None}, {"accepted": 2}, {"action": Action.DELETED}],
    ids=lambda c: next(iter(c)),
)
def test_state_digest_covers(changed: dict[str, Any]) -> None:
    """The digest of a state differs when version, digest, action or the number of accepted events does."""
    assert state_digest(head(**changed)) != state_digest(head())


def test_state_digest_is_stable() -> None:
    """The digest is the same for the same state in any process, and for a state whose deliveries alone differ."""
    assert state_digest(head(generation=7, holds=["h1"])) == state_digest(head()) == "458944e141173852"


def test_state_digest_of_nothing() -> None:
    """An artifact that is not there has no digest."""
    assert state_digest(None) == ""


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", TRACE),
        (f"01-{TRACE}-b7ad6b7169203331-01-what-comes-later", TRACE),
        (f"ff-{TRACE}-b7ad6b7169203331-01", ""),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", ""),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", ""),
        (f"00-{TRACE}-b7ad6b7169203331", ""),
        (7, ""),
        (None, ""),
    ],
)
def test_trace_id(parent: object, expected: str) -> None:
    """The trace id is that of a `traceparent` which W3C Trace Context allows, and nothing of any other."""
    assert trace_id({"traceparent": parent}) == expected


def test_configuration_is_noted_once() -> None:
    """A partition gets one record when its worker judges by another configuration, and none at first or while it stays the same."""
    marker = Marker(turn=4)
    first = AuditTrail(marker, 1, "aaaa")
    note_configuration(3, marker, first)
    note_configuration(3, marker, first)
    second = AuditTrail(marker, 2, "bbbb")
    note_configuration(3, marker, second)
    records = [msgspec.json.decode(value, type=AuditRecord) for _, value, _ in first.records + second.records]
    assert [(r.id, r.outcome, r.config, r.detail) for r in records] == [
        ("config-3-4", Outcome.CONFIGURATION, "bbbb", "the configuration was aaaa")
    ]
    assert marker.config == "bbbb"
