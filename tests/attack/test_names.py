"""Artifact names that pretend: over NATS, HTTP bodies, HTTP paths and commands. An artifact has one name, and it looks like no other's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.bridge_encode import Encoder
from streams.codec import decode_event
from streams.confusables import doubt
from streams.errors import Malformed
from streams.events import Incoming
from streams.nats_pull import Arrived
from streams.settings import Limits
from tests.events import chart_event, encode
from tests.gateways import World, segment

LIMITS = Limits()
#: What a name is, and why nobody may be called so.
PRETENDERS = {
    "a NUL": "argo\0cd",
    "a line break": "argo\ncd",
    "an escape of terminals": "argo\x1b[2Jcd",
    "a step up": "../argo-cd",
    "a step up, inside": "team/../argo-cd",
    "a step to itself": "./argo-cd",
    "an empty segment": "team//argo-cd",
    "a slash before": "/argo-cd",
    "a slash behind": "argo-cd/",
    "a decomposed letter": "cafe\u0301",
    "a zero-width space": "argo\u200bcd",
    "a zero-width joiner": "argo\u200dcd",
    "a right-to-left override": "argo\u202edc",
    "a byte order mark": "\ufeffargo-cd",
    "an invisible letter": "argo\u115fcd",
    "an invisible mark": "argo\u034fcd",
    "a variation selector": "argo\ufe0fcd",
    "a tag": "argo\U000e0041cd",
    "a Cyrillic letter among Latin ones": "arg\u043e-cd",
    "a Greek letter among Latin ones": "arg\u03bf-cd",
    "a Cyrillic segment behind a Latin one": "ghcr.io/\u0430\u0440\u0440",
    "nothing but Cyrillic look-alikes": "\u0441\u043e\u0440\u0435",
    "nothing but Greek look-alikes": "\u03bf\u03c1\u03b1",
    "full-width letters": "\uff41rgo-cd",
    "mathematical letters": "\U0001d41argo-cd",
    "a ligature": "\ufb01rst",
    "a full-width slash": "team\uff0fargo-cd",
    "a division slash": "team\u2215argo-cd",
    "a one dot leader": "argo\u2024cd",
    "another hyphen": "argo\u2010cd",
    "a soft hyphen": "argo\u00adcd",
    "another space": "argo\u00a0cd",
    "a lone surrogate": "argo\ud800cd",
}
NAMES = pytest.mark.parametrize("name", PRETENDERS.values(), ids=PRETENDERS.keys())


def environment_event(name: str) -> dict[str, Any]:
    """Of all vocabularies this takes names most literally."""
    event = chart_event("x", "1")
    data = {"context": event["data"]["context"], "subject": {"id": f"environment/{name}", "content": {}}}
    return event | {"type": "dev.cdevents.environment.modified.0.2.0", "subject": None, "data": data}


def body_of(name: str) -> bytes:
    """As JSON with escapes, in which even a lone surrogate can be written."""
    return json.dumps(environment_event(name)).encode()


@NAMES
def test_no_event_is_about_such_a_name(name: str) -> None:
    """Every door decodes with this function; it refuses, and says so in printable ASCII."""
    with pytest.raises(Malformed) as refused:
        decode_event(Incoming(body_of(name)), LIMITS)
    assert refused.value.code in ("subject.invalid", "subject.confusable", "json.invalid", "attribute.invalid")
    assert refused.value.detail.isascii()
    assert refused.value.detail.isprintable()


@NAMES
def test_over_nats_it_gets_no_key_of_its_own(name: str) -> None:
    """The bridge files it under its principal's unknown ones, bytes as they are: it never meets the artifact that it pretends to be."""
    encoder = Encoder(stream="SM_IN_c8", incarnation=1, principal="c8", cluster="test", first=1, partitions=4, limits=LIMITS)
    batch = _Batch()
    encoder.encode([Arrived(b"$JS.ACK.SM_IN_c8.c.1.1.1.1795000000000000000.0", b"", body_of(name))], lambda: batch)
    assert (batch.keys, batch.values) == ([b"unknown/c8"], [body_of(name)])


@pytest.mark.parametrize(
    "version",
    ["1.0.\u043e", "1.0.0-r\u0441.1", "\uff11.0.0", "1\u20240\u20240", "1.0.0\u115f", "1.0.0\u200b", "1.0.0\u202e", "1.0\0"],
)
def test_no_version_looks_like_another(version: str) -> None:
    """Else the same version, as people read it, would have two digests."""
    event = chart_event("argo-cd", "1.0.0")
    event["data"]["subject"] = {"id": "pkg:helm/argo-cd"}
    event["data"]["customData"] = {"version": version}
    with pytest.raises(Malformed) as refused:
        decode_event(Incoming(json.dumps(event).encode()), LIMITS)
    assert refused.value.code in ("version.invalid", "version.confusable")


async def test_over_http_it_is_refused(world: World) -> None:
    """4xx with the reason, and nothing is published."""
    headers = {"Content-Type": "application/cloudevents+json"}
    for what, name in PRETENDERS.items():
        response = await world.post("/v1/events", by="c8", headers=headers, data=body_of(name))
        assert (what, response.status in (400, 422), world.publisher.published) == (what, True, [])


async def test_a_command_reaches_nothing_by_it(world: World) -> None:
    """A manual sync of a name that pretends is of no artifact: nothing is ordered for the one that it looks like."""
    for real in ("argo-cd", "argocd", "team/argo-cd", "café"):
        world.artifact(f"chart/{real}")
    for what, name in PRETENDERS.items():
        body = json.dumps({"artifact": f"chart/{name}"})
        response = await world.post("/v1/sync", headers={"Content-Type": "application/json"}, data=body)
        assert (what, response.status in (400, 404, 422), world.log.commands) == (what, True, [])


PATHS = [
    "chart%252Fargo-cd",  # encoded twice
    "chart%2Fteam%2F..%2Fargo-cd",
    "chart/argo-cd",  # two segments
    "chart%2F%2Fargo-cd",
    "chart%2Fargo-cd%2F",
    "chart%2Fargo-cd%00",
    "chart%2Fargo-cd%0A",
    "chart%2F%61rgo-cd%20",
    "%2Fchart%2Fargo-cd",
    "chart%5Cargo-cd",
    "chart%C0%AFargo-cd",  # an overlong slash
    "chart%EF%BC%8Fargo-cd",  # a full-width slash
    "chart%2Farg%D0%BE-cd",
    "CHART%2Fargo-cd",
    "..%2Fartifacts%2Fchart%2Fargo-cd",
    "chart%2Fargo-cd;x=1",
]


async def test_a_path_means_one_key(world: World) -> None:
    """A segment is decoded once and taken as it is: no other spelling leads to the artifact."""
    world.artifact("chart/argo-cd")
    assert (await world.get("/v1/artifacts/chart%2Fargo-cd")).status == 200
    for path in PATHS:
        response = await world.get(f"/v1/artifacts/{path}")
        assert (path, response.status in (400, 404)) == (path, True)


async def test_dots_in_a_path_go_nowhere(world: World) -> None:
    """Whatever a client leaves in a path, no step up leads from an open route past the check of another."""
    for path in (
        "/metrics/../v1/keys",
        "/metrics/%2e%2e/v1/keys",
        "/livez/%2e%2e%2fv1%2fkeys",
        "/metrics;/../v1/keys",
    ):
        response = await world.get(path, by=None)
        assert (path, response.status in (401, 404)) == (path, True)


@pytest.mark.parametrize("name", ["прод", "прод-2", "café", "größe", "東京", "ひらがな-api", "서울prod", "αβγδ", "मुख्य"])
def test_honest_names_are_taken(name: str) -> None:
    """Whoever writes in another script is not locked out."""
    assert doubt(name) is None
    assert decode_event(Incoming(encode(environment_event(name))), LIMITS).artifact.key == f"environment/{name}"


class _Batch:
    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: list[bytes] = []

    def append(self, *, timestamp: int, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> int:
        self.keys.append(key)
        self.values.append(value)
        return 1


def test_a_segment_is_what_a_client_makes_of_a_key() -> None:
    """The helper of these tests encodes slashes too, as every client has to."""
    assert segment("chart/a b") == "chart%2Fa%20b"
