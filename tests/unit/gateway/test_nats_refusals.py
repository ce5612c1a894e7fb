"""What nats-server says of a refused login, and how much of it is believed. The server itself: tests/integration/test_nats_refusals.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.nats_refusals import CODE, NatsRefusals, refusal_of
from gateway.refusals import Refused
from streams import metrics
from tests.brokers import orbit

USERS = {"c4", "syncmaster-gateway"}
TYPE = "io.nats.server.advisory.v1.client_disconnect"
PUBLIC = "U" + "A" * 55


def advisory(*, reason: Any = "Authentication Failure", type_: str = TYPE, **client: Any) -> bytes:
    """As nats-server 2.15 writes it, in short."""
    told = {
        "start": "2026-11-23T19:50:20.191Z",
        "host": "10.0.0.7",
        "id": 16,
        "acc": "$G",
        "lang": "go",
        "kind": "Client",
    } | client
    server = {"name": "n1", "host": "0.0.0.0", "id": "NBBN", "ver": "2.15.1", "jetstream": True, "seq": 24}
    return json.dumps({"type": type_, "id": "PAeL", "server": server, "client": told, "reason": reason}).encode()


def detail(**fields: Any) -> str:
    refusal = refusal_of(advisory(**fields), USERS)
    assert refusal is not None
    return refusal.detail


def test_from_where_and_why() -> None:
    """The server's word: the address and the reason. Nobody is certain, so there is no principal, whoever was claimed."""
    assert refusal_of(advisory(), USERS) == Refused(CODE, "10.0.0.7", route="NATS", detail="(Authentication Failure)")
    assert refusal_of(advisory(user="c4"), USERS) == Refused(
        CODE, "10.0.0.7", route="NATS", detail="as c4 (Authentication Failure)"
    )


@pytest.mark.parametrize("host", ["10.0.0.7", "::1", "fe80::1%eth0"])
def test_addresses_of_both_kinds(host: str) -> None:
    """IPv4 and IPv6, with a zone too."""
    refusal = refusal_of(advisory(host=host), USERS)
    assert refusal is not None
    assert refusal.remote == host


@pytest.mark.parametrize("user", ["c4", "syncmaster-gateway", PUBLIC])
def test_a_claim_that_is_told(user: str) -> None:
    """A name of ours and the public half of an nkey: neither can be a secret, or a text of somebody's choice."""
    assert detail(user=user) == f"as {user} (Authentication Failure)"


@pytest.mark.parametrize(
    "user",
    ["hunter2", "C4", "c4 ", "c4\n", "c4; principal=operator", "S" + PUBLIC, PUBLIC + "A", "U" + "a" * 55, "x" * 100_000, ""],
)
def test_a_claim_that_is_not_told(user: str) -> None:
    """A password in the wrong place, a seed, a text that would be read in the audit."""
    assert detail(user=user) == "(Authentication Failure)"


@pytest.mark.parametrize("reason", ["", "x" * 65, "<script>", "line\nfeed", "Authentication Failure; as operator"])
def test_a_reason_is_words(reason: str) -> None:
    """Anything else is left out."""
    assert detail(reason=reason, user="c4") == "as c4"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"type": "\xff"}',
        b"[" * 100_000,
        b'{"x":' * 100_000,
        advisory(type_="io.nats.server.advisory.v1.client_connect"),
        advisory(host=""),
        advisory(host="somewhere"),
        advisory(host=["10.0.0.7"]),
        advisory(user={"name": "c4"}),
        advisory(reason=5),
        json.dumps({"type": TYPE, "reason": "x"}).encode(),
    ],
)
def test_garbage_is_none(garbage: bytes) -> None:
    """What is no such advisory, or does not say from where."""
    assert refusal_of(garbage, USERS) is None


@given(st.binary(max_size=200))
def test_nothing_makes_it_fail(garbage: bytes) -> None:
    """Whatever comes is an advisory or None."""
    assert refusal_of(garbage, USERS) is None


class Kept:
    def __init__(self) -> None:
        self.all: list[Refused] = []

    def refused(self, refusal: Refused) -> None:
        self.all.append(refusal)


def test_what_is_not_understood_is_counted(tmp_path: Path) -> None:
    """It is no refusal, and the next one is."""
    kept, before = Kept(), metrics.ADVISORIES_DROPPED._value.get()
    told = NatsRefusals(orbit(tmp_path), kept)  # type: ignore[arg-type]
    for body in (b"garbage", advisory(user="c8"), advisory(user="syncmaster-worker")):
        told.take(body)
    assert metrics.ADVISORIES_DROPPED._value.get() - before == 1
    assert [refusal.detail.split(" (")[0] for refusal in kept.all] == ["as c8", "as syncmaster-worker"]
