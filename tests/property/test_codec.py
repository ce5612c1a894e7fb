"""Any bytes get an event or a Malformed; nothing else. Both ways of reading an envelope agree with its definition."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from streams import cloudevents
from streams.cloudevents import is_deeper
from streams.codec import decode_event, split
from streams.envelope import CloudEvent, is_time
from streams.errors import Malformed
from streams.events import Incoming
from streams.settings import Limits
from tests.events import chart_event, encode

LIMITS = Limits(json_depth_max=8)
VALID = encode(chart_event("argo-cd", "5.0.0"))
WORDS = [
    b'"',
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"[" * 300,
    b"{",
    b"}",
    b"]",
    b"null",
    b"1e999",
    b"9" * 5000,
    b"\xff",
    b"\xed\xa0\x80",
]

header_text = st.text(st.characters(exclude_categories=[])) | st.sampled_from(["1.0", '"1.0"', "%", "%C0%A0", "application/json"])
header_names = st.sampled_from(
    ["content-type", "ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "ce-subject", "ce-", "ce-x"]
)
headers = st.dictionaries(header_names, header_text)
mutations = st.lists(
    st.tuples(st.integers(0, len(VALID)), st.integers(0, 20), st.binary(max_size=8) | st.sampled_from(WORDS)), max_size=4
)


def outcome(incoming: Incoming) -> str:
    """The key of an event, or the code of its refusal. Every other exception is a failure of the test."""
    try:
        return decode_event(incoming, LIMITS).artifact.key
    except Malformed as error:
        return error.code if str(error).isprintable() else f"{error!r} is not printable"


def check_message(incoming: Incoming) -> None:
    parts = split(incoming, LIMITS)
    assert parts
    for part in parts:
        assert outcome(part.incoming) == (part.error.code if part.error else part.key)
        assert (part.key is None) == (part.error is not None)


@given(st.binary(), headers)
def test_any_bytes(body: bytes, headers: dict[str, str]) -> None:
    """Any bytes under any headers are events or malformed, and the bridge and the engine find the same."""
    check_message(Incoming(body, headers))


@given(mutations, st.booleans())
def test_nearly_valid_events(changes: list[tuple[int, int, bytes]], batch: bool) -> None:
    """So are events with some bytes replaced, alone and in a batch."""
    body = VALID
    for at, length, replacement in changes:
        body = body[:at] + replacement + body[at + length :]
    check_message(Incoming(b"[" + VALID + b"," + body + b"]" if batch else body))


text = st.text(max_size=12) | st.sampled_from(
    ["", "\x00", "\x7f", "\ufdd0", "x" * 257, "x" * 600, "x" * 1025, "e30=", "e30", "ä"]
)
integers = st.integers(-(2**31) - 1, 2**31) | st.just(10**30)
values = (
    st.none()
    | st.booleans()
    | integers
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | st.just([])
    | st.just({"a": 1})
)
times = st.datetimes().map(lambda moment: moment.isoformat() + "Z") | st.sampled_from(
    ["2026-11-22 09:30:00Z", "2026-11-22T09:30:00+01:00"]
)
attributes = st.fixed_dictionaries(
    {"specversion": st.just("1.0") | values, "id": text | values, "source": text | values, "type": text | values},
    optional={
        "time": times | values,
        "subject": values,
        "datacontenttype": values,
        "dataschema": values,
        "data": values,
        "data_base64": values,
        "extension": values,
        "Extension": values,
        "x" * 21: values,
    },
)
many = st.integers(31, 34).map(lambda count: {f"x{number}": "v" for number in range(count)})
documents = st.builds(lambda base, more: base | more, attributes, st.just({}) | many)
GOOD = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
one_off = st.builds(
    lambda document, name: GOOD | ({name: document[name]} if name in document else {}),
    documents,
    st.sampled_from(
        [
            "id",
            "source",
            "type",
            "time",
            "subject",
            "datacontenttype",
            "dataschema",
            "data",
            "data_base64",
            "extension",
            "Extension",
        ]
    ),
)


def defined(body: bytes) -> bool:
    try:
        CloudEvent.model_validate_json(body)
    except ValidationError:
        return False
    return True


def read(body: bytes) -> bool:
    try:
        cloudevents.read(Incoming(body))
    except Malformed:
        return False
    return True


@given(documents | one_off)
@example(GOOD | {"data": {}, "data_base64": None})
@example(GOOD | {"data": None, "data_base64": "e30="})
@example(GOOD | {"data": {}, "data_base64": ""})
@example(GOOD | {"subject": None, "time": None, "extension": None})
@example(GOOD | {"Extension": None})
@example(GOOD | {"extension": ""})
def test_reader_accepts_what_the_definition_accepts(document: dict[str, Any]) -> None:
    """The reader of the hot path and the published model take the same documents and refuse the same."""
    body = json.dumps(document).encode()
    assert read(body) == defined(body)


@given(one_off)
def test_strict_way_is_the_patient_way(document: dict[str, Any]) -> None:
    """What the one-pass reader takes, the patient one takes too and understands the same."""
    body = json.dumps(document).encode()
    assume(read(body))
    envelope, extensions = cloudevents.read(Incoming(body))
    assert cloudevents._patient(body) == (envelope, extensions)


nested = st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(nested, st.integers(0, 6))
def test_depth_is_the_depth(document: Any, depth_max: int) -> None:
    """Depth counted on the bytes is the depth of the parsed document."""

    def depth(value: Any) -> int:
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    assert is_deeper(json.dumps(document, ensure_ascii=False).encode(), depth_max) == (depth(document) > depth_max)


@given(st.from_regex(r"\A\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,12})?([Zz]|[+-]\d\d:?\d\d)?\Z") | times | st.text(max_size=30))
def test_times_are_rfc3339(time: str) -> None:
    """What is taken as a time has RFC 3339's shape: a T, and a zone with a colon."""
    if is_time(time):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", time, re.ASCII)


@pytest.mark.parametrize(
    "time", ["2026-11-22T09:30:00Z", "2026-11-22t09:30:00.123456789z", "2026-11-22T09:30:00-11:30", "0001-01-01T00:00:00Z"]
)
def test_usual_times_are_taken(time: str) -> None:
    """Nanoseconds, small letters and zones are RFC 3339 too."""
    assert is_time(time)
