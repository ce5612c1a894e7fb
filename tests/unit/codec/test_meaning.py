"""Which artifact an event is about, where the golden events do not say it already: names, versions and digests from purls."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from streams.codec import decode_event
from streams.events import Artifact, Incoming
from streams.purl import read_purl
from streams.settings import Limits
from tests.events import chart_event, encode

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def artifact_of(data: dict[str, Any], **attributes: Any) -> Artifact:
    event = chart_event("argo-cd", "5.0.0") | {"data": data} | attributes
    return decode_event(Incoming(encode(event)), Limits()).artifact


def about(purl: str, **custom: Any) -> Artifact:
    return artifact_of({"subject": {"id": purl}, "customData": custom})


@pytest.mark.parametrize(
    ("purl", "key"),
    [
        ("pkg:oci/app@1?repository_url=ghcr.io/org/app", "image/ghcr.io/org/app"),
        ("pkg:oci/app@1?repository_url=ghcr.io/Org/App", "image/ghcr.io/Org/App"),
        ("pkg:oci/app@1?repository_url=https://ghcr.io/org/", "image/ghcr.io/org/app"),
        ("pkg:oci/app@1?repository_url=localhost:5000", "image/localhost:5000/app"),
        ("pkg:oci/app@1?repository_url=ghcr.io/org/myapp", "image/ghcr.io/org/myapp/app"),
        ("pkg:oci/app@1", "image/app"),
        ("pkg:docker/customer/image@1?repository_url=gcr.io", "image/gcr.io/customer/image"),
        ("pkg:docker/cassandra@latest", "image/cassandra"),
        ("pkg:helm/bitnami/redis@1", "chart/redis"),
        ("pkg:oci/redis@1?repository_url=ghcr.io/charts&artifact_type=application/vnd.cncf.helm.config.v1%2Bjson", "chart/redis"),
        ("pkg:npm/%40scope/tool@1", "artifact/@scope/tool"),
        ("pkg:maven/org.example/lib@1", "artifact/org.example/lib"),
    ],
)
def test_key_from_a_purl(purl: str, key: str) -> None:
    """Kind and name come from the purl's type, name and repository, and carry no version."""
    assert about(purl).key == key


@pytest.mark.parametrize(
    ("purl", "custom", "version", "digest"),
    [
        (f"pkg:oci/app@{A}?tag=v1", {"version": "2"}, "v1", A),
        (f"pkg:oci/app@{A}", {"version": "2"}, "2", A),
        (f"pkg:oci/app@{A}", {}, A, A),
        ("pkg:docker/app@1.2", {"version": "2", "digest": B}, "1.2", B),
        (f"pkg:generic/app@1?checksum=sha1:00,{A}", {"digest": B}, "1", A),
        ("pkg:generic/app@1?checksum=sha1:00", {}, "1", None),
        ("pkg:generic/app", {"version": 3}, "3", None),
        ("pkg:generic/app", {"digest": B}, B, B),
        ("pkg:generic/app@1.0.0%2Bbuild.5", {}, "1.0.0+build.5", None),
    ],
)
def test_version_and_digest(purl: str, custom: dict[str, Any], version: str, digest: str | None) -> None:
    """The tag goes before the purl's version, before customData, before the digest."""
    artifact = about(purl, **custom)
    assert (artifact.version, artifact.digest) == (version, digest)


def test_kind_from_custom_data_goes_first() -> None:
    """A producer may say the kind itself."""
    assert about("pkg:oci/redis@1?repository_url=ghcr.io/charts/redis", kind="chart").key == "chart/redis"


def test_attribute_subject_stands_in_for_a_missing_one() -> None:
    """Without data.subject.id, or without data at all, the CloudEvents attribute `subject` counts."""
    purl = "pkg:generic/app@1"
    assert artifact_of({}, subject=purl) == artifact_of({"subject": {"id": None}}, subject=purl) == about(purl)
    assert artifact_of(None, subject=purl) == about(purl)  # type: ignore[arg-type]


def test_opaque_custom_data_is_left_alone() -> None:
    """CDEvents allows any string there, with a content type of its own."""
    assert artifact_of({"subject": {"id": "pkg:generic/app@1"}, "customData": "PD94bWw+"}).version == "1"


def test_same_purl_is_parsed_once() -> None:
    """A purl is remembered by its text."""
    assert read_purl("pkg:npm/left-pad@1.3.0") is read_purl("pkg:npm/left-pad@1.3.0")


def test_base64_data_is_read_as_json() -> None:
    """`data_base64` is the same event as `data`."""
    event = chart_event("argo-cd", "5.0.0")
    text = encode(event.pop("data"))
    encoded = decode_event(Incoming(encode(event | {"data_base64": base64.b64encode(text).decode()})), Limits())
    assert encoded.artifact == decode_event(Incoming(encode(chart_event("argo-cd", "5.0.0"))), Limits()).artifact


def test_stamped_attributes_are_dropped_and_own_ones_kept() -> None:
    """What the door stamps cannot be sent; nulls are absent; everything else is the producer's."""
    sent = {
        "smprincipal": "root",
        "smcluster": "x",
        "smingress": "x",
        "recordedtime": "x",
        "team": "orbit",
        "flag": True,
        "none": None,
    }
    event = decode_event(Incoming(encode(chart_event("argo-cd", "5.0.0") | sent)), Limits())
    assert event.extensions == {"team": "orbit", "flag": True}
