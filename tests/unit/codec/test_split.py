"""How one message becomes its events: single ones, batches, and what cannot be taken apart."""

from __future__ import annotations

import pytest

from streams.codec import decode_event, split
from streams.errors import Malformed
from streams.events import Incoming
from streams.settings import Limits
from tests.events import chart_event, encode

LIMITS = Limits()
ONE, TWO = (encode(chart_event("argo-cd", version)) for version in ("5.0.0", "5.1.0"))
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "urn:test", "ce-type": "dev.cdevents.artifact.published.0.2.0"}
DATA = b'{"subject": {"id": "pkg:generic/argo-cd@5.0.0"}, "customData": {"kind": "chart"}}'


def test_single_event_is_one_part_with_its_key() -> None:
    """A structured event needs no headers at all, as zot sends it."""
    (part,) = split(Incoming(ONE), LIMITS)
    assert (part.key, part.incoming, part.error) == ("chart/argo-cd", Incoming(ONE), None)


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/cloudevents-batch+json; charset=utf-8"}])
def test_batch_keeps_the_original_bytes_of_each_event(headers: dict[str, str]) -> None:
    """Elements of a batch are cut out, not written anew; each is a structured event from there on."""
    spaced = ONE.replace(b'"specversion"', b' "specversion" ')
    parts = split(Incoming(b"[" + spaced + b" ,\n" + TWO + b"]", headers), LIMITS)
    assert [part.incoming.body for part in parts] == [spaced, TWO]
    assert [decode_event(part.incoming, LIMITS).artifact.version for part in parts] == ["5.0.0", "5.1.0"]


def test_malformed_element_harms_no_other() -> None:
    """One bad element of a batch is one bad part, in its place."""
    parts = split(Incoming(b"[" + ONE + b', {"id": 7}, [[]], ' + TWO + b"]"), LIMITS)
    assert [part.key for part in parts] == ["chart/argo-cd", None, None, "chart/argo-cd"]
    assert [part.error.code for part in parts if part.error] == ["specversion.unsupported", "batch.nested"]


@pytest.mark.parametrize("body", [b"[]", b"[" + ONE, b"[" + b"0," * 2000 + b"0]", b"[" * 3000, b"{}"])
def test_batch_that_cannot_be_taken_apart_is_one_part(body: bytes) -> None:
    """It keeps its original bytes, and the engine finds the same fault in them as the bridge."""
    incoming = Incoming(body, {"content-type": "application/cloudevents-batch+json"})
    (part,) = split(incoming, LIMITS)
    assert part.key is None
    assert part.error is not None
    assert part.incoming == incoming
    with pytest.raises(Malformed) as caught:
        decode_event(incoming, LIMITS)
    assert caught.value.code == part.error.code


def test_binary_mode_is_by_the_header_alone() -> None:
    """`ce-specversion` makes the body data, whatever the content type says; an array is then no batch."""
    headers = BINARY | {"content-type": "application/cloudevents+json"}
    assert decode_event(Incoming(DATA, headers), LIMITS).artifact.key == "chart/argo-cd"
    (part,) = split(Incoming(b"[]", BINARY), LIMITS)
    assert part.error is not None
    assert part.error.code == "data.invalid"


def test_headers_without_specversion_leave_structured_mode() -> None:
    """Other `ce-*` headers beside a structured event do not count."""
    event = decode_event(Incoming(ONE, {"ce-id": "forged", "ce-type": "forged"}), LIMITS)
    assert event.id == "argo-cd-5.0.0-published"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content-type": "text/plain"}, "datacontenttype.unsupported"),
        ({"ce-datacontenttype": "text/plain", "content-type": "application/json"}, "datacontenttype.unsupported"),
        ({"ce-data": "{}"}, "attribute.name"),
        ({"ce-Bad_Name": "x"}, "attribute.name"),
        ({"ce-subject": "%C0%A0"}, "attribute.invalid"),
        ({"ce-subject": "a%00b"}, "attribute.invalid"),
        ({"ce-subject": "\udc80"}, "attribute.invalid"),
        ({"ce-specversion": "0.3"}, "specversion.unsupported"),
    ],
)
def test_binary_refusals(headers: dict[str, str], code: str) -> None:
    """Binary mode has the same rules as structured mode."""
    (part,) = split(Incoming(DATA, BINARY | headers), LIMITS)
    assert part.error is not None
    assert part.error.code == code


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/vnd.cdevents+json", "TEXT/JSON"])
def test_json_media_types(content_type: str) -> None:
    """Data of any JSON media type is taken, in either mode."""
    assert decode_event(Incoming(DATA, BINARY | {"content-type": content_type}), LIMITS).datacontenttype == content_type
