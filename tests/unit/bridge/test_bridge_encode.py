"""Messages to records: identity, keys, headers, contiguity; and that nothing a producer sends stops a stream."""

from __future__ import annotations

from typing import Any

import pytest

from streams import bridge_encode
from streams.bridge_encode import Encoder, Round, parse_headers, position_of
from streams.errors import Gap, Retriable
from streams.ingress import HEADER, Ingress
from streams.nats_pull import Arrived
from streams.partition import partition_of
from streams.settings import Limits
from tests.bridging import event

NS = 1_700_000_000_123_456_789


class Batch(list[dict[str, Any]]):
    """A builder that is full after three records."""

    def append(self, **record: Any) -> object | None:  # type: ignore[override]
        if len(self) == 3:
            return None
        super().append(record)
        return self


def encoder(first: int = 1, limits: Limits | None = None) -> Encoder:
    return Encoder(
        stream="SM_IN_c24", incarnation=9, principal="c24", cluster="test", first=first, partitions=4, limits=limits or Limits()
    )


def arrived(sequence: int, body: bytes, headers: bytes = b"") -> Arrived:
    return Arrived(b"$JS.ACK.SM_IN_c24.consumer.1.%d.%d.%d.3" % (sequence, sequence, NS), headers, body)


def records(encoded: Round) -> list[dict[str, Any]]:
    return [record for chain in encoded.batches.values() for batch in chain for record in batch]


def test_a_record_carries_identity_key_and_time() -> None:
    """Key, partition, timestamp and `sm-ingress` come from the event and its place in the stream."""
    (record,) = records(encoder(41).encode([arrived(41, event(1, "argo-cd"))], Batch))
    assert record["key"] == b"chart/argo-cd"
    assert record["value"] == event(1, "argo-cd")
    assert record["timestamp"] == NS // 1_000_000
    identity = Ingress.decode(dict(record["headers"])[HEADER])
    assert identity == Ingress("SM_IN_c24", 9, 41, 0, NS // 1_000_000, "nats", "c24", "test")
    assert identity.encode() == dict(record["headers"])[HEADER]


def test_a_batch_becomes_one_record_per_event() -> None:
    """The events of one message share its sequence and are told apart by their index; each has its own original bytes."""
    body = b"[" + event(1, "a") + b"," + event(2, "b") + b"]"
    found = records(encoder().encode([arrived(1, body)], Batch))
    assert sorted((record["key"], record["value"]) for record in found) == [
        (b"chart/a", event(1, "a")),
        (b"chart/b", event(2, "b")),
    ]
    assert sorted(Ingress.decode(dict(record["headers"])[HEADER]).mark for record in found) == [(9, 1, 0), (9, 1, 1)]


@pytest.mark.parametrize("body", [b"", b"\xff\xfe garbage", b"[", b"[]", b"{}", b"null", b'{"specversion":"1.0"}', b"[" * 10_000])
def test_what_cannot_be_decoded_goes_on_as_it_is(body: bytes) -> None:
    """Under `unknown/<principal>`, with the original bytes."""
    (record,) = records(encoder().encode([arrived(1, body)], Batch))
    assert (record["key"], record["value"]) == (b"unknown/c24", body)


def test_a_fault_of_the_codec_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even an exception nobody thought of leaves a record with the original bytes."""

    def split(*_: object) -> list[object]:
        raise RuntimeError("boom")

    monkeypatch.setattr(bridge_encode, "split", split)
    (record,) = records(encoder().encode([arrived(1, b"x")], Batch))
    assert (record["key"], record["value"]) == (b"unknown/c24", b"x")


def test_a_full_batch_is_followed_by_another_in_order() -> None:
    """Seven events of one artifact fill three batches of one partition, in stream order."""
    encoded = encoder().encode([arrived(n, event(n, "a")) for n in range(1, 8)], Batch)
    (chain,) = encoded.batches.values()
    assert list(encoded.batches) == [partition_of(b"chart/a", 4)]
    assert [[int(Ingress.decode(r["headers"][0][1]).sequence) for r in batch] for batch in chain] == [[1, 2, 3], [4, 5, 6], [7]]


def test_a_round_may_grow() -> None:
    """What is encoded onto a round is as if it had been encoded with it."""
    messages = [arrived(n, event(n, f"a{n % 3}")) for n in range(1, 8)]
    whole, parts = encoder().encode(messages, Batch), encoder()
    grown = parts.encode(messages[5:], Batch, parts.encode(messages[2:5], Batch, parts.encode(messages[:2], Batch)))
    assert records(grown) == records(whole)
    assert (grown.last, grown.messages, grown.records, grown.payload_bytes) == (
        whole.last,
        whole.messages,
        whole.records,
        whole.payload_bytes,
    )
    assert (grown.sequence, grown.ingress_ns, grown.pending) == (whole.sequence, whole.ingress_ns, whole.pending)


def test_a_round_tells_where_it_leads() -> None:
    """The last sequence, its time, what is left in the stream, and how many messages and records it was."""
    encoded = encoder(5).encode([arrived(5, b"[" + event(1) + b"," + event(2) + b"]"), arrived(6, b"x")], Batch)
    assert (encoded.sequence, encoded.ingress_ns, encoded.pending, encoded.messages, encoded.records) == (6, NS, 3, 2, 3)


def test_a_hole_in_the_sequences_is_a_gap() -> None:
    """Nothing is passed over: neither between two messages nor before the first."""
    with pytest.raises(Gap, match="misses the sequences 2 to 3"):
        encoder().encode([arrived(1, b""), arrived(4, b"")], Batch)
    with pytest.raises(Gap, match="misses the sequences 1 to 1"):
        encoder().encode([arrived(2, b"")], Batch)


def test_contiguity_holds_across_rounds() -> None:
    """The encoder remembers the last sequence of the round before; one that comes back is refused too."""
    it = encoder()
    it.encode([arrived(1, b"")], Batch)
    with pytest.raises(Retriable, match="went back"):
        it.encode([arrived(1, b"")], Batch)


def test_what_is_larger_than_the_log_takes_is_cut() -> None:
    """It cannot happen while the limits are in order; if it does, the stream goes on."""
    limits = Limits(event_bytes_max=2000, nats_payload_bytes_max=3000, stored_record_bytes_max=4000, log_message_bytes_max=5000)
    (record,) = records(encoder(limits=limits).encode([arrived(1, b"x" * 100_000)], Batch))
    assert 0 < len(record["value"]) < 5000


def test_reads_the_position_from_both_forms_of_the_reply_subject() -> None:
    """Version 1, and version 2 with domain and account, with and without a random token."""
    assert position_of(b"$JS.ACK.S.C.1.17.18.99.5") == (17, 99, 5)
    assert position_of(b"$JS.ACK._.ABC.S.C.1.17.18.99.5") == (17, 99, 5)
    assert position_of(b"$JS.ACK.hub.ABC.S.C.1.17.18.99.5.token") == (17, 99, 5)


@pytest.mark.parametrize("reply", [b"", b"_INBOX.x", b"$JS.ACK.S.C.1.a.b.c.d"])
def test_a_message_without_a_position_stops_the_stream(reply: bytes) -> None:
    """Somebody else may be writing to the inbox: nothing is guessed."""
    with pytest.raises(Gap, match="no stream position"):
        position_of(reply)


def test_keeps_the_headers_that_decoding_needs() -> None:
    """`ce-*` and content-type in lower case, the door's mark; everything else, and what is broken, is dropped."""
    raw = b"NATS/1.0\r\nCE-Id: 7\r\nContent-Type:application/json\r\nNats-Msg-Id: x\r\nsm-door: http\r\nce-\xff: a\r\nnonsense\r\n\r\n"
    assert parse_headers(raw) == {"ce-id": "7", "content-type": "application/json", "sm-door": "http", "ce-\ufffd": "a"}


@pytest.mark.parametrize(("door", "expected"), [(b"http", "http"), (b"nats", "nats"), (b"ev il 1", "nats")])
def test_the_door_is_one_of_two_words(door: bytes, expected: str) -> None:
    """Whatever a principal writes into `sm-door`, the identity stays readable; the header itself goes no further."""
    (record,) = records(encoder().encode([arrived(1, event(1), b"NATS/1.0\r\nsm-door: " + door + b"\r\n\r\n")], Batch))
    assert Ingress.decode(dict(record["headers"])[HEADER]).door == expected
    assert "sm-door" not in dict(record["headers"])
