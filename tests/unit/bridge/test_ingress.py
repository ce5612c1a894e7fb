"""The header `sm-ingress`: eight fields, and a ninth where an event is over a rate limit."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.ingress import Ingress

INGRESS = Ingress("SM_IN_c24", 9, 41, 2, 1_795_000_000_000, "nats", "c24", "test")


@pytest.mark.parametrize("over", ["", "slow", "slow,slower"])
def test_what_is_encoded_is_decoded(over: str) -> None:
    """With and without the names of exceeded limits."""
    ingress = replace(INGRESS, over=over)
    assert Ingress.decode(ingress.encode()) == ingress
    assert len(ingress.encode().split(b" ")) == 8 + bool(over)


def test_a_header_from_before_there_were_limits_is_read() -> None:
    """Records written by an older bridge, and headers kept with versions and quarantined messages."""
    assert Ingress.decode(b"SM_IN_c24 9 41 2 1795000000000 nats c24 test") == INGRESS


@pytest.mark.parametrize(
    "raw", [b"", b"a 1 1 0 0 nats c24", b"a 1 1 0 0 nats c24 test over more", b"a x 1 0 0 nats c24 test", b"\xff"]
)
def test_anything_else_is_refused(raw: bytes) -> None:
    """Only the bridge writes it, so nothing needs to be guessed."""
    with pytest.raises(ValueError, match=r".+"):
        Ingress.decode(raw)
