"""Commands that are no more than news: keys, refused logins, holds. They are audited in some partition's chain, and change nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from streams.commands import Command, about_principal
from tables.store import Stores
from tests.brokers import orbit
from tests.events import FakeRecord, chart_event, record
from tests.partition import NOW_MS, Partition


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    stores = Stores(tmp_path / "stores")
    yield Partition(stores.open(0), orbit(tmp_path))
    stores.close_all()


def news(offset: int, code: str, **fields: str) -> FakeRecord:
    command = Command(
        "c1", "record", "operator", NOW_MS, remote="10.0.0.1", subject="k1", code=code, detail="for c8, read", **fields
    )
    return FakeRecord(offset, about_principal("operator").encode(), msgspec.json.encode(command), ())


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("key.created", "key"),
        ("key.rotated", "key"),
        ("key.revoked", "key"),
        ("auth.unknown_key", "login_refused"),
        ("auth.key_revoked", "login_refused"),
        ("auth.denied", "login_refused"),
    ],
)
def test_keys_and_refused_logins_are_in_the_audit(partition: Partition, code: str, outcome: str) -> None:
    """Who, from where, what, which key; about no artifact; and the artifacts stay as they were."""
    partition.turn(record(0, chart_event("argo-cd", "1.0.0")))
    before = partition.head("chart/argo-cd")
    partition.turn(commands=[news(0, code, reason="lost")])
    told = partition.audit[-1]
    assert (told.outcome.value, told.code, told.principal, told.remote, told.artifact) == (
        outcome,
        code,
        "operator",
        "10.0.0.1",
        "",
    )
    assert told.detail == "k1; for c8, read; lost"
    assert (partition.head("chart/argo-cd"), partition.marker.commands) == (before, 1)
