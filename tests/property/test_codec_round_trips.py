"""Structured and binary mode carry the same event; the CloudEvents SDK reads what SyncMaster writes; identities do not depend on spelling."""

from __future__ import annotations

import json
from typing import Any

from cloudevents.core.bindings import http as sdk
from cloudevents.core.formats.json import JSONFormat
from hypothesis import assume, given
from hypothesis import strategies as st
from packageurl import PackageURL

from streams import purl
from streams.ce_headers import decode_value, encode_value
from streams.codec import accepted_attributes, decode_event, to_binary_headers, to_structured
from streams.envelope import STAMPED, is_clean
from streams.errors import Malformed
from streams.events import Incoming
from streams.ingress import Ingress
from streams.settings import Limits

LIMITS = Limits()
INGRESS = Ingress("SM_IN_c24", 1, 7, 0, 1_795_339_800_123, "nats", "c24", "home")

clean = st.text(min_size=1, max_size=40).filter(is_clean)
moments = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
events = st.builds(
    lambda required, optional, extensions: {"specversion": "1.0", **extensions, **required, **optional},
    st.fixed_dictionaries({"id": clean, "source": clean, "type": st.just("dev.cdevents.artifact.published.0.2.0")}),
    st.fixed_dictionaries(
        {"data": st.just({"subject": {"id": "pkg:generic/app@1"}, "customData": {"note": "ü"}})},
        optional={"time": moments, "subject": clean, "dataschema": clean, "datacontenttype": st.just("application/json")},
    ),
    st.dictionaries(st.from_regex(r"\A[a-z0-9]{1,20}\Z"), clean | st.booleans() | st.integers(-(2**31), 2**31 - 1), max_size=3),
)


def facts(event: Any) -> Any:
    return (
        event.id,
        event.source,
        event.type,
        event.artifact,
        event.time,
        event.subject,
        event.dataschema,
    )


@given(events)
def test_modes_carry_the_same_event(sent: dict[str, Any]) -> None:
    """Received structured, delivered binary or structured, and received again: the same event."""
    incoming = Incoming(json.dumps(sent, ensure_ascii=False).encode())
    attributes, data, content_type = accepted_attributes(incoming, INGRESS)
    assume(not any(isinstance(value, str) and value != value.strip(" \t") for value in attributes.values()))
    structured = Incoming(to_structured(attributes, data, content_type))
    binary = Incoming(data, {**to_binary_headers(attributes), "content-type": content_type})
    event = decode_event(incoming, LIMITS)
    assert facts(decode_event(structured, LIMITS)) == facts(event)
    assert facts(decode_event(binary, LIMITS)) == facts(event)


@given(events)
def test_stamps_overwrite_what_was_sent(sent: dict[str, Any]) -> None:
    """Whatever the producer sent under the door's names, a delivery tells the door's truth."""
    forged = dict.fromkeys(STAMPED, "forged")
    attributes, _, _ = accepted_attributes(Incoming(json.dumps(sent | forged).encode()), INGRESS)
    stamped = {name: attributes[name] for name in STAMPED}
    assert stamped == {"smprincipal": "c24", "smcluster": "home", "smingress": "nats", "recordedtime": "2026-11-22T09:30:00.123Z"}


@given(events)
def test_the_sdk_reads_what_is_delivered(sent: dict[str, Any]) -> None:
    """The CloudEvents SDK understands both renderings, attribute by attribute, and the data."""
    attributes, data, content_type = accepted_attributes(Incoming(json.dumps(sent).encode()), INGRESS)
    headers = {**to_binary_headers(attributes), "content-type": content_type}
    structured = {"content-type": "application/cloudevents+json"}
    for event in (
        sdk.from_binary(sdk.HTTPMessage(headers, data), JSONFormat()),
        sdk.from_structured(sdk.HTTPMessage(structured, to_structured(attributes, data, content_type)), JSONFormat()),
    ):
        assert event.get_data() == sent["data"]
        assert {name: event.get_attributes()[name] for name in attributes if name != "time"} == {
            name: value for name, value in attributes.items() if name != "time"
        }


@given(events)
def test_what_the_sdk_writes_is_read(sent: dict[str, Any]) -> None:
    """Events that the CloudEvents SDK accepts and writes, in either mode, are understood as they were sent."""
    event = sdk.from_structured(sdk.HTTPMessage({}, json.dumps(sent).encode()), JSONFormat())
    for message in (sdk.to_structured(event, JSONFormat()), sdk.to_binary(event, JSONFormat())):
        got = decode_event(Incoming(message.body, dict(message.headers)), LIMITS)
        assert (got.id, got.source, got.type, got.subject) == (sent["id"], sent["source"], sent["type"], sent.get("subject"))
        assert got.artifact.key == "artifact/app"


@given(st.text())
def test_header_values_survive(value: str) -> None:
    """Any attribute value goes through a header as printable ASCII and comes back."""
    encoded = encode_value(value)
    assert not encoded or (encoded.isascii() and encoded.isprintable() and " " not in encoded and '"' not in encoded)
    assert decode_value(encoded) == value


def test_quoted_header_values_are_read() -> None:
    """Senders of older versions of the binding quote strings, and percent-encode in small letters."""
    assert decode_value('"Euro \\"%e2%82%ac\\""') == 'Euro "€"'
    assert encode_value("Euro € 😀") == "Euro%20%E2%82%AC%20%F0%9F%98%80"


segments = st.from_regex(r"\A[a-z0-9._-]{1,8}\Z")
plain_purls = st.builds(
    lambda kind, path, version, query: f"pkg:{kind}/{'/'.join(path)}{version}{query}",
    st.sampled_from(["oci", "docker", "generic"]),
    st.lists(segments, min_size=1, max_size=3),
    st.just("") | st.from_regex(r"\A@[A-Za-z0-9._:-]{1,8}\Z"),
    st.just("") | st.from_regex(r"\A\?[a-z_]{1,4}=[A-Za-z0-9._:/-]{1,8}(&[a-z_]{1,4}=[A-Za-z0-9._:/-]{1,8})?\Z"),
)


@given(plain_purls | st.text().map("pkg:generic/".__add__) | st.text())
def test_plain_purls_are_read_as_packageurl_reads_them(text: str) -> None:
    """The short way for plain purls has no opinion, or packageurl's; the other way fails with Malformed only."""
    short = purl._read_plain(text)
    try:
        long = purl._read_any(text)
    except Malformed:
        assert short is None
        return
    assert short in (None, long)


@given(st.sampled_from(["oci", "generic"]), st.from_regex(r"\A[a-z0-9]{1,8}\Z"), st.from_regex(r"\A[A-Za-z0-9.+:]{1,8}\Z"))
def test_purls_that_packageurl_writes_are_read(kind: str, name: str, version: str) -> None:
    """Percent-encoding in a purl does not change what it names. The version of an `oci` one is a digest, in lower case."""
    read = purl.read_purl(PackageURL(kind, None, name, version).to_string())
    assert (read.name, read.version) == (name, version.lower() if kind == "oci" else version)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def environment(content: dict[str, Any], custom: dict[str, Any]) -> Incoming:
    data = {"subject": {"id": "prod", "content": content}, "customData": custom}
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "dev.cdevents.environment.modified.0.3.0", "data": data}
    return Incoming(json.dumps(event).encode())


def turned(value: Any) -> Any:
    """The same JSON value with the members of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(inner) for key, inner in reversed(value.items())}
    return [turned(inner) for inner in value] if isinstance(value, list) else value


fields = st.dictionaries(st.text(max_size=5).filter(lambda key: key not in ("revision", "version")), json_values, max_size=3)


@given(fields, fields)
def test_same_environment_has_the_same_version(content: dict[str, Any], custom: dict[str, Any]) -> None:
    """The order of members does not change an environment's version; its content does."""
    one = decode_event(environment(content, custom), LIMITS).artifact
    assert decode_event(environment(turned(content), turned(custom)), LIMITS).artifact == one
    assert decode_event(environment({**content, "added here": 1}, custom), LIMITS).artifact.version != one.version
