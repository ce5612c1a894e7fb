"""The door of decoding: bytes and headers to events, and an accepted event back to what a delivery sends. Pure; no I/O, no clock.

    incoming --split--> parts --decode_event--> event --check_time-->        (bridge; engine)
    incoming + ingress --accepted_attributes--> attributes, data --to_structured, to_binary_headers-->   (sinks)

Binary mode exactly when `ce-specversion` is there, structured otherwise; structured mode with an array, or with the batch media
type, is a batch. Only `Malformed` is ever raised, whatever the bytes; its codes are stable:

    json.invalid  json.too_deep  event.too_large  batch.empty  batch.too_many  batch.nested
    specversion.unsupported  id.missing  source.missing  type.missing  time.invalid  time.ahead
    attribute.name  attribute.invalid  attributes.too_many  data.conflict  data.invalid  datacontenttype.unsupported
    type.unknown  subject.missing  subject.invalid  subject.confusable  kind.unknown  version.missing  version.invalid
    version.confusable  digest.invalid
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import lru_cache
from typing import NoReturn

import msgspec

from streams.ce_headers import door_headers, to_binary_headers
from streams.cloudevents import Envelope, check_text, cut, is_json, read, refuse_json
from streams.envelope import STAMPED, parse_time
from streams.errors import Malformed
from streams.events import Artifact, Event, Incoming
from streams.fast_event import read_fast
from streams.rendering import accepted_attributes, to_structured
from streams.settings import Limits
from streams.vocabulary import reader_of

__all__ = [
    "Part",
    "accepted_attributes",
    "check_time",
    "decode_event",
    "door_headers",
    "split",
    "to_binary_headers",
    "to_structured",
]

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch"
_SAYS_STRUCTURED = {"content-type": STRUCTURED}
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Part(msgspec.Struct, frozen=True):
    """One event of a message. `key` is None exactly when there is an `error`; `incoming` holds the event's original bytes."""

    key: str | None
    incoming: Incoming
    error: Malformed | None = None


def split(incoming: Incoming, limits: Limits) -> list[Part]:
    """The events of one message, at least one part for any bytes. A batch that cannot be taken apart is one part, with its error."""
    if not _is_batch(incoming):
        return [_part(incoming, limits)]
    try:
        elements = _elements_of(incoming.body, limits)
    except Malformed as error:
        return [Part(None, incoming, error)]
    headers = {"content-type": STRUCTURED}
    return [_element(Incoming(bytes(element), headers), limits) for element in elements]


def decode_event(incoming: Incoming, limits: Limits) -> Event:
    """One event, decoded and judged by itself. Raises Malformed, and nothing else, for any bytes."""
    return _short_way(incoming, limits) or decode_slowly(incoming, limits)


def _short_way(incoming: Incoming, limits: Limits) -> Event | None:
    """Only for what says nothing about its mode, or that it is structured."""
    if incoming.headers and incoming.headers != _SAYS_STRUCTURED:
        return None
    return read_fast(incoming.body, limits)


def decode_slowly(incoming: Incoming, limits: Limits) -> Event:
    """The long way: every mode, every type, every reason."""
    if _is_batch(incoming):
        _refuse_batch(incoming.body, limits)
    check_text(incoming.body, limits)
    envelope, extensions = read(incoming)
    artifact = _artifact(envelope, limits)
    if extensions:
        extensions = {name: value for name, value in extensions.items() if name not in STAMPED}
    return Event(
        envelope.id,
        envelope.source,
        envelope.type,
        artifact,
        envelope.time,
        envelope.subject,
        envelope.dataschema,
        envelope.datacontenttype,
        extensions,
    )


def check_time(event: Event, ingress_ms: int, limits: Limits) -> None:
    """Raises Malformed(`time.ahead`) for an event that claims to be from later than the door's clock allows."""
    if event.time is None or _is_past(event.time, ingress_ms):
        return
    moment = parse_time(event.time)
    if moment is None:
        return
    ahead_s = moment.timestamp() - ingress_ms / 1000
    if ahead_s > limits.time_ahead_s_max:
        wish = f"at most {limits.time_ahead_s_max:g} s ahead of the door's clock"
        raise Malformed("time.ahead", f"found {cut(event.time)}, {ahead_s:.0f} s ahead; expected {wish}")


def _is_past(time: str, ingress_ms: int) -> bool:
    """Whether a time in UTC is at least a minute before the door's clock, as most are: text in RFC 3339 sorts as time does."""
    return time[-1:] == "Z" and time[:16] < _minute(ingress_ms // 60_000)


@lru_cache(maxsize=16)
def _minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M")


def _element(incoming: Incoming, limits: Limits) -> Part:
    if not _is_batch(incoming):
        return _part(incoming, limits)
    try:
        _refuse_batch(incoming.body, limits)
    except Malformed as error:
        return Part(None, incoming, error)


def _part(incoming: Incoming, limits: Limits) -> Part:
    event = _short_way(incoming, limits)
    if event is not None:
        return Part(event.artifact.key, incoming)
    try:
        check_text(incoming.body, limits)
        envelope, _ = read(incoming)
        return Part(_artifact(envelope, limits).key, incoming)
    except Malformed as error:
        return Part(None, incoming, error)


def _artifact(envelope: Envelope, limits: Limits) -> Artifact:
    return reader_of(envelope.type)(envelope.subject, _json(envelope, limits))


def _json(envelope: Envelope, limits: Limits) -> msgspec.Raw:
    """The data as JSON text, empty where there is none: every type that SyncMaster knows has JSON data."""
    if envelope.datacontenttype is not None and not is_json(envelope.datacontenttype):
        found = cut(envelope.datacontenttype)
        raise Malformed("datacontenttype.unsupported", f"found {found}; expected application/json or another +json type")
    if envelope.data_base64 is None:
        return envelope.data
    text = base64.b64decode(envelope.data_base64)
    check_text(text, limits)
    return msgspec.Raw(text)


def _is_batch(incoming: Incoming) -> bool:
    headers = incoming.headers
    if "ce-specversion" in headers:
        return False
    return incoming.body.lstrip()[:1] == b"[" or headers.get("content-type", "").lower().startswith(BATCH)


def _refuse_batch(body: bytes, limits: Limits) -> NoReturn:
    """For the reason that `split` gave, if it could not take the batch apart."""
    _elements_of(body, limits)
    raise Malformed("batch.nested", "found a batch where one event stands; expected a JSON object")


def _elements_of(body: bytes, limits: Limits) -> list[msgspec.Raw]:
    try:
        elements = _elements(body)
    except msgspec.ValidationError:
        raise Malformed("json.invalid", f"found {cut(body[:20].decode(errors='replace'))}; expected a JSON array") from None
    except (msgspec.DecodeError, RecursionError) as exc:
        refuse_json(exc)
    if not elements:
        raise Malformed("batch.empty", "found a batch of no events; expected at least one")
    if len(elements) > limits.batch_events_max:
        raise Malformed("batch.too_many", f"found {len(elements)} events in a batch; expected at most {limits.batch_events_max}")
    return elements
