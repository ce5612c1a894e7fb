"""The wire of a pulling connection: whatever is in subjects and payloads, and however it is cut."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from streams.nats_pull import Arrived, PullClient, Slot

REPLY = b"$JS.ACK.S.C.1.1.1.1.0"


async def client(batch: int = 100) -> tuple[PullClient, Slot]:
    """A client that was never connected, with one slot under the sid 7."""
    it = PullClient()
    slot = Slot("_INBOX.x")
    slot.left = batch
    it.slots[b"7"] = slot
    return it, slot


def message(subject: bytes, body: bytes, headers: bytes = b"", sid: bytes = b"7") -> bytes:
    if not headers:
        return b"MSG %b %b %b %d\r\n%b\r\n" % (subject, sid, REPLY, len(body), body)
    sizes = (len(headers), len(headers) + len(body))
    return b"HMSG %b %b %b %d %d\r\n%b%b\r\n" % (subject, sid, REPLY, *sizes, headers, body)


def status(line: bytes) -> bytes:
    headers = b"NATS/1.0 " + line + b"\r\n\r\n"
    return b"HMSG _INBOX.x 7 %d %d\r\n%b\r\n" % (len(headers), len(headers), headers)


@pytest.mark.parametrize("subject", [b"sm.in.x.\xff\xfe", b"sm.in.x.a\x0cb", b"sm.in.x.a\x0bb", b"sm.in.x.a\x00b", b"s" * 4000])
async def test_no_subject_stops_the_connection(subject: bytes) -> None:
    """Subjects that end nats-py's read loop, or make it reconnect for ever, are nothing special."""
    it, slot = await client()
    await it._ps.parse(message(subject, b"one") + message(b"sm.in.x.y", b"two"))
    assert [found.body for found in it.messages] == [b"one", b"two"]
    assert (slot.arrived, slot.left) == (2, 98)


BODIES = st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=12)


@given(BODIES, st.randoms(use_true_random=False))
async def test_however_it_is_cut(bodies: list[tuple[bytes, bool]], dice: random.Random) -> None:
    """Messages come out whole and in order from any cutting of the same bytes."""
    it, _ = await client()
    header = b"NATS/1.0\r\nce-id: 1\r\n\r\n"
    wire = b"".join(message(b"sm.in.x.y", body, header if headed else b"") + b"+OK\r\n" for body, headed in bodies)
    while wire:
        size = dice.randint(1, 200)
        await it._ps.parse(wire[:size])
        wire = wire[size:]
    assert it.messages == [Arrived(REPLY, header if headed else b"", body) for body, headed in bodies]


async def test_a_large_payload_is_joined_once() -> None:
    """A megabyte in pieces of 1 kB is not copied at each piece."""
    it, _ = await client()
    wire = message(b"sm.in.x.y", b"z" * 1_000_000)
    for at in range(0, len(wire), 1000):
        await it._ps.parse(wire[at : at + 1000])
    assert [len(found.body) for found in it.messages] == [1_000_000]


@pytest.mark.parametrize("line", [b"408 Request Timeout", b"404 No Messages", b"409 Message Size Exceeds MaxBytes"])
async def test_an_ordinary_end_frees_the_pull(line: bytes) -> None:
    """The pull may be asked for again; nothing is wrong."""
    it, slot = await client()
    await it._ps.parse(status(line))
    assert (slot.left, slot.status, it.messages) == (0, b"", [])
    assert it.wakeup.is_set()


@pytest.mark.parametrize("line", [b"409 Consumer Deleted", b"503", b"409 Leadership Change", b"400 Bad Request"])
async def test_any_other_end_is_remembered(line: bytes) -> None:
    """So that the bridge starts again from its checkpoint."""
    it, slot = await client()
    await it._ps.parse(status(line))
    assert (slot.left, slot.status) == (0, line)


async def test_other_subscriptions_go_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies to requests, which are not pulls, are given to nats-py as it expects them."""
    it, _ = await client()
    given_: list[tuple[Any, ...]] = []

    async def process(*args: Any) -> None:
        given_.append(args)

    monkeypatch.setattr(it, "_process_msg", process)
    await it._ps.parse(message(b"_INBOX.1", b"b", sid=b"3") + b"MSG _INBOX.1 3 2\r\nhi\r\n")
    assert given_ == [(3, b"_INBOX.1", REPLY, b"b", b""), (3, b"_INBOX.1", b"", b"hi", b"")]
    assert it.messages == []


@pytest.mark.parametrize("wire", [b"NONSENSE\r\n", b"x" * 100_000])
async def test_what_is_not_the_protocol_ends_the_connection(wire: bytes) -> None:
    """An unknown operation, or a line without end, is refused rather than collected for ever."""
    it, _ = await client()
    with pytest.raises(ProtocolError):
        await it._ps.parse(wire)
