"""What is refused, with which code, and that the detail tells what was found and what is expected."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import streams.codec
from streams.codec import check_time, decode_event, split
from streams.errors import Malformed
from streams.events import Incoming
from streams.settings import Limits
from tests.events import chart_event, encode

LIMITS = Limits()
A = "sha256:" + "a" * 64
OCI = f"pkg:oci/app@{A}?repository_url=ghcr.io/org/app"


def changed(**attributes: Any) -> dict[str, Any]:
    return {name: value for name, value in (chart_event("argo-cd", "5.0.0") | attributes).items() if value is not ...}


def about(purl: str | None, *, custom: Any = None, subject: str | None = None) -> dict[str, Any]:
    return changed(subject=subject, data={"subject": {"id": purl, "content": {}}, "customData": custom})


def environment(ident: str, content: Any = None, custom: Any = None) -> dict[str, Any]:
    data = {"subject": {"id": ident, "content": content}, "customData": custom}
    return changed(type="dev.cdevents.environment.modified.0.2.0", subject=None, data=data)


def harbor(*resources: dict[str, str]) -> dict[str, Any]:
    return changed(type="harbor.artifact.pushed", subject=None, data={"resources": list(resources)})


def refusal(event: dict[str, Any] | bytes, headers: dict[str, str] | None = None) -> Malformed:
    incoming = Incoming(event if isinstance(event, bytes) else encode(event), headers or {})
    with pytest.raises(Malformed) as caught:
        decode_event(incoming, LIMITS)
    assert split(incoming, LIMITS)[0].key is None
    return caught.value


ENVELOPE = [
    ("json.invalid", b""),
    ("json.invalid", b"not JSON"),
    ("json.invalid", b"7"),
    ("json.invalid", encode(changed())[:-20]),
    ("json.invalid", b'{"id": "\xff"}'),
    ("json.invalid", b'{"id": "\\ud800"}'),
    ("json.too_deep", encode(changed(data=json.loads("[" * 65 + "]" * 65)))),
    ("json.too_deep", b'{"data": ' + b"[" * 100_000),
    ("json.too_deep", b"[" * 100_000 + b"]" * 100_000),
    ("event.too_large", changed(data="x" * LIMITS.event_bytes_max)),
    ("batch.empty", b" [ ] "),
    ("batch.too_many", b"[" + b"0," * LIMITS.batch_events_max + b"0]"),
    ("specversion.unsupported", changed(specversion=...)),
    ("specversion.unsupported", changed(specversion="0.3")),
    ("specversion.unsupported", changed(specversion=1.0)),
    ("id.missing", changed(id=...)),
    ("id.missing", changed(id=None)),
    ("id.missing", changed(id="")),
    ("source.missing", changed(source=...)),
    ("type.missing", changed(type=...)),
    ("attribute.invalid", changed(id=7)),
    ("attribute.invalid", changed(id="x" * 257)),
    ("attribute.invalid", changed(id="a\x00b")),
    ("attribute.invalid", changed(source="a\x7fb")),
    ("attribute.invalid", changed(subject="a\u0085b")),
    ("attribute.invalid", changed(subject="")),
    ("attribute.invalid", changed(extension=1.5)),
    ("attribute.invalid", changed(extension={"a": 1})),
    ("attribute.invalid", changed(extension=2**31)),
    ("attribute.invalid", changed(extension="x" * 1025)),
    ("attribute.invalid", encode(changed(extension=0)).replace(b'"extension":0', b'"extension":1e999')),
    ("attribute.name", changed(Extension="x")),
    ("attribute.name", changed(**{"x" * 21: "x"})),
    ("attribute.name", changed(**{"": "x"})),
    ("attributes.too_many", changed(**{f"x{number}": "x" for number in range(33)})),
    ("time.invalid", changed(time="yesterday")),
    ("time.invalid", changed(time="2026-02-30T00:00:00Z")),
    ("time.invalid", changed(time="2026-11-22 09:30:00Z")),
    ("time.invalid", changed(time="2026-11-22T09:30:00")),
    ("time.invalid", changed(time="2026-11-22T09:30:00+0100")),
    ("time.invalid", changed(time=1_795_000_000)),
    ("data.conflict", changed(data_base64="e30=")),
    ("data.invalid", changed(data=..., data_base64="e30")),
    ("data.invalid", changed(data="text")),
    ("data.invalid", changed(data={"subject": {"id": 7}})),
    ("json.invalid", changed(data=..., data_base64="bm8=")),
    ("datacontenttype.unsupported", changed(datacontenttype="application/xml")),
]

MEANING = [
    ("type.unknown", changed(type="com.example.something")),
    ("type.unknown", changed(type="dev.cdevents.artifact.published")),
    ("type.unknown", changed(type="dev.cdevents.artifact.downloaded.0.1.0")),
    ("type.unknown", changed(type="harbor.scan.completed")),
    ("type.unknown", changed(type="zotregistry.repository.created")),
    ("subject.missing", about(None)),
    ("subject.invalid", about("argo-cd")),
    ("subject.invalid", about("pkg:generic/")),
    ("subject.invalid", about("pkg:generic/" + "x" * 2048)),
    ("subject.invalid", about("pkg:generic/a/%2e%2e/b@1")),
    ("subject.invalid", about("pkg:generic/a%00b@1")),
    ("subject.invalid", about("pkg:generic/" + "x" * 513 + "@1")),
    ("subject.invalid", about("pkg:oci/app@1?repository_url=/etc/app")),
    ("subject.invalid", environment("a//b")),
    ("subject.invalid", environment("a/")),
    ("subject.invalid", environment("../etc")),
    ("subject.invalid", environment("cafe\u0301")),
    ("subject.confusable", environment("pr\u043ed")),
    ("subject.invalid", environment("https://portal.example")),
    ("kind.unknown", about(OCI, custom={"kind": "planet"})),
    ("version.missing", about("pkg:generic/app")),
    ("version.invalid", about("pkg:generic/app", custom={"version": "x" * 257})),
    ("version.invalid", about("pkg:generic/app", custom={"version": "a\nb"})),
    ("version.invalid", environment("prod", {"revision": 1.5})),
    ("version.confusable", environment("prod", {"revision": "1.\u043e"})),
    ("digest.invalid", about("pkg:oci/app@sha256:abc?tag=1")),
    ("digest.invalid", about("pkg:generic/app@1?checksum=sha256:" + "A" * 64)),
    ("digest.invalid", about("pkg:generic/app@1?checksum=sha256:abc")),
    ("digest.invalid", about("pkg:generic/app@1", custom={"digest": "md5:abc"})),
    ("data.invalid", about("pkg:generic/app@1", custom=7)),
    ("data.invalid", harbor()),
    ("data.invalid", harbor({"resource_url": "a/b:1"}, {"resource_url": "a/b:2"})),
    ("data.invalid", changed(type="zotregistry.image.updated", data={"reference": "1"})),
    ("version.missing", changed(type="zotregistry.image.updated", data={"name": "a"})),
]


@pytest.mark.parametrize(("code", "event"), ENVELOPE + MEANING)
def test_refusal(code: str, event: dict[str, Any] | bytes) -> None:
    """Each fault has its own stable code, and a detail that is short and printable."""
    refused = refusal(event)
    assert refused.code == code
    assert len(refused.detail) < 600
    assert refused.detail.isprintable()


def test_codes_are_in_the_catalogue() -> None:
    """The codec's docstring lists every code that it can raise, and no other."""
    listed = set(re.findall(r"\b[a-z]+\.[a-z_]+\b", (streams.codec.__doc__ or "").partition("stable:")[2]))
    assert listed == {code for code, _ in ENVELOPE + MEANING} | {"time.ahead", "batch.nested"}


def test_detail_names_what_was_found_and_cuts_it() -> None:
    """A long value is shown with its first 80 characters."""
    detail = refusal(changed(type="x" * 200)).detail
    assert "x" * 80 in detail
    assert "x" * 81 not in detail


def test_known_type_without_a_change_says_so() -> None:
    """A Harbor scan is not unknown, it only changes no artifact; its producer is told that."""
    assert "announces no change" in refusal(changed(type="harbor.scan.completed")).detail


def test_time_ahead_of_the_door() -> None:
    """An event may claim a time within the allowed distance of the door's clock, and not beyond."""
    event = decode_event(Incoming(encode(changed(time="2026-11-22T09:30:00Z"))), LIMITS)
    then_ms = 1_795_339_800_000
    check_time(event, then_ms - 86_400_000, LIMITS)
    with pytest.raises(Malformed, match=r"time\.ahead"):
        check_time(event, then_ms - 86_400_001, LIMITS)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_extreme_times_are_judged(time: str) -> None:
    """The ends of the calendar are times like any other."""
    event = decode_event(Incoming(encode(changed(time=time))), LIMITS)
    if time.startswith("0001"):
        check_time(event, 0, LIMITS)
    else:
        with pytest.raises(Malformed, match=r"time\.ahead"):
            check_time(event, 0, LIMITS)


def test_brackets_in_strings_are_no_depth() -> None:
    """Only nesting counts, not how many brackets there are, nor those in strings."""
    flat = [[], {}] * 500 + ["[" * 500, '\\"[' * 100]
    assert decode_event(Incoming(encode(changed(extra="[" * 100, data=about(OCI)["data"] | {"flat": flat}))), LIMITS).id


def test_an_open_string_is_refused_quickly() -> None:
    """A quarter of a megabyte of escaped quotes in a string without an end costs no more than any other text."""
    assert refusal(b"[[[[" * 20 + b'"\\' * 120_000).code == "json.invalid"
