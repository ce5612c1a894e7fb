"""Messages of a stream to records of [events], batch by batch. Pure apart from the builders that it fills; the bridge's hot path.

Every message becomes at least one record, whatever it holds: what cannot be decoded goes under `unknown/<principal>` with its original
bytes, for the engine to quarantine. Per message and event costs matter here: no objects that nobody reads, no parsing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

import msgspec
import structlog

from streams.codec import Part, split
from streams.errors import Gap, Malformed, Retriable
from streams.events import Incoming
from streams.fast_event import read_key
from streams.ingress import HEADER
from streams.nats_pull import Arrived
from streams.partition import partition_of
from streams.rate_limits import RateLimits
from streams.settings import Limits

log = structlog.get_logger(__name__)

#: Kafka's framing of a record and of a batch of one, generously.
_FRAMING_BYTES = 512


class Builder(Protocol):
    """aiokafka's BatchBuilder, as far as it is used. `append` returns None when the batch is full."""

    def append(self, *, timestamp: int, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> Any: ...


class Round(msgspec.Struct):
    """What a handful of messages became: per partition the batches in order and the last record's identity; and the position behind them."""

    batches: dict[int, list[Any]]
    last: dict[int, bytes]
    messages: int = 0
    records: int = 0
    payload_bytes: int = 0
    sequence: int = 0
    ingress_ns: int = 0
    pending: int = 0
    buckets: dict[str, int] = {}
    limited: int = 0


#: Key, value and own headers. A plain tuple, as one is made for each event.
_Headers = tuple[tuple[str, bytes], ...]
_Record = tuple[bytes, bytes, _Headers]
_NO_HEADERS: _Headers = ()


class Encoder:
    """Knows the next sequence, so that nothing can be passed over. One per serving of a stream."""

    def __init__(
        self,
        *,
        stream: str,
        incarnation: int,
        principal: str,
        cluster: str,
        first: int,
        partitions: int,
        limits: Limits,
        rate_limits: RateLimits | None = None,
    ) -> None:
        self._stream = stream
        self._next = first
        self._partitions = partitions
        self._limits = limits
        self._rate_limits = rate_limits or None
        self._head = f"{stream} {incarnation} ".encode("ascii")
        self._tails = {door: f" {door} {principal} {cluster}".encode("ascii") for door in ("nats", "http")}
        self._unknown = f"unknown/{principal}"
        #: Key and headers come out of a message that NATS took, so together they are no larger than one.
        self._certainly_fits_bytes = limits.log_message_bytes_max - limits.nats_payload_bytes_max - _FRAMING_BYTES

    def encode(self, messages: Sequence[Arrived], new_batch: Callable[[], Any], onto: Round | None = None) -> Round:
        """A new round, or `onto`, which has grown. Raises Gap where sequences are missing, Retriable where they went back."""
        round_ = onto or Round({}, {})
        batches, last, rate_limits = round_.batches, round_.last, self._rate_limits
        head, plain_tail = self._head, self._tails["nats"]
        for reply, raw_headers, body in messages:
            sequence_text, ms_text = _place(reply)
            sequence = int(sequence_text)
            if sequence != self._next:
                self._refuse(sequence)
            self._next = sequence + 1
            round_.payload_bytes += len(body)
            key = None if raw_headers else self._plain_key(body)
            if key is not None:
                parts: Sequence[_Record] = ((key.encode(), body, _NO_HEADERS),)
                tail = plain_tail
            else:
                parts, tail = self._split(body, raw_headers)
            for index, part in enumerate(parts):
                identity = b"".join((head, sequence_text, b" %d " % index if index else b" 0 ", ms_text, tail))
                if rate_limits is not None and (over := rate_limits.over(position_of(reply)[1])):
                    identity += b" " + over.encode("ascii")
                    round_.limited += 1
                last[self._append(batches, new_batch, part, int(ms_text), identity)] = identity
            round_.records += len(parts)
        round_.messages += len(messages)
        round_.sequence, round_.ingress_ns, round_.pending = position_of(messages[-1].reply)
        round_.buckets = {} if rate_limits is None else rate_limits.full_ns
        return round_

    def _append(
        self, batches: dict[int, list[Any]], new_batch: Callable[[], Any], record: _Record, ms: int, identity: bytes
    ) -> int:
        """Returns the partition."""
        key, value, own_headers = record
        headers = [(HEADER, identity), *own_headers]
        if len(value) > self._certainly_fits_bytes:
            value = self._fitting(key, headers, value)
        partition = partition_of(key, self._partitions)
        chain = batches.get(partition)
        if chain is None:
            chain = batches[partition] = [new_batch()]
        if chain[-1].append(timestamp=ms, key=key, value=value, headers=headers) is None:
            chain.append(new_batch())
            chain[-1].append(timestamp=ms, key=key, value=value, headers=headers)
        return partition

    def _plain_key(self, body: bytes) -> str | None:
        """Of the one event that nearly every message is; None: look closer, which also tells what is wrong."""
        try:
            return read_key(body, self._limits)
        except Exception:  # `_split` will find it too, and say so
            return None

    def _split(self, body: bytes, raw_headers: bytes) -> tuple[tuple[_Record, ...], bytes]:
        """The long way: every mode, batches, what cannot be decoded. And how the identity ends, which names the door."""
        headers = parse_headers(raw_headers)
        tail = self._tails["http" if headers.pop("sm-door", "nats") == "http" else "nats"]
        incoming = Incoming(body, headers)
        try:
            parts = split(incoming, self._limits)
        except Exception as exc:  # no message may stop its stream, not even one that finds a fault in the codec
            log.exception("the codec failed on a message; it goes to quarantine as it is: please report it", stream=self._stream)
            parts = [Part(None, incoming, Malformed("internal", repr(exc)))]
        return tuple(
            ((part.key or self._unknown).encode(), part.incoming.body, _encoded(part.incoming.headers)) for part in parts
        ), tail

    def _refuse(self, sequence: int) -> NoReturn:
        if sequence > self._next:
            raise Gap(missing(self._stream, self._next, sequence - 1))
        raise Retriable(f"stream {self._stream} went back to sequence {sequence}, expected {self._next}")

    def _fitting(self, key: bytes, headers: list[tuple[str, bytes]], body: bytes) -> bytes:
        """The limits' order lets no message be larger than the log takes; should one be all the same, it is cut, not stuck."""
        room = self._limits.log_message_bytes_max - _FRAMING_BYTES - len(key)
        room -= sum(len(name) + len(value) + 16 for name, value in headers)
        if len(body) <= room:
            return body
        log.error(
            "a message is larger than the log takes and was cut; raise limits.log_message_bytes_max",
            stream=self._stream,
            sequence=self._next - 1,
            payload_bytes=len(body),
        )
        return body[: max(room, 0)]


def _place(reply: bytes) -> tuple[bytes, bytes]:
    """Sequence and timestamp in ms, as the text that the reply subject has: one is made of it for every message. Raises Gap as `position_of`."""
    fields = reply.split(b".")
    sequence, ns = (fields[5], fields[7]) if len(fields) == 9 else (fields[7:10:2] if len(fields) > 10 else (b"", b""))
    if sequence.isdigit() and ns.isdigit() and len(ns) > 6:
        return sequence, ns[:-6]
    number, nanoseconds, _ = position_of(reply)
    return b"%d" % number, b"%d" % (nanoseconds // 1_000_000)


def position_of(reply: bytes) -> tuple[int, int, int]:
    """(sequence, timestamp in ns, messages pending) from a JetStream reply subject. Raises Gap where it is none.

    $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<ns>.<pending>, and since nats-server 2.15 also
    $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<ns>.<pending>[.<token>] (ADR-15).
    """
    try:
        if reply.count(b".") == 8:
            _, sequence, _, ns, pending = reply.rsplit(b".", 4)
        else:
            sequence, _, ns, pending = reply.split(b".")[7:11]
        return int(sequence), int(ns), int(pending)
    except (ValueError, IndexError):
        raise Gap(
            f"a message tells no stream position: {reply[:200]!r}; is something else publishing to the bridge's inbox?"
        ) from None


def parse_headers(raw: bytes) -> dict[str, str]:
    """The headers that matter, names in lower case; of a name that is there twice the last counts. Never raises."""
    headers = {}
    for line in raw.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        lowered = name.strip().lower()
        if lowered.startswith(b"ce-") or lowered in (b"content-type", b"sm-door"):
            headers[lowered.decode("ascii", "replace")] = value.strip().decode("utf-8", "replace")
    return headers


def _encoded(headers: Mapping[str, str]) -> _Headers:
    return tuple((name, value.encode()) for name, value in headers.items())


def missing(stream: str, first: int, last: int) -> str:
    return (
        f"stream {stream} misses the sequences {first} to {last}, which SyncMaster has not taken and did not purge. "
        f"Find out who deleted them; to go on without them: nats kv del sm_bridge {stream}"
    )
