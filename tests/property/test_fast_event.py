"""The short way of decoding says what the long way says, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import semver
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.newest import precedence
from streams.codec import decode_slowly
from streams.errors import Malformed
from streams.events import Incoming
from streams.fast_event import read_fast, read_key
from streams.settings import Limits
from tests.events import chart_event, digest_of, encode

LIMITS = Limits()
_WORDS = st.sampled_from(
    ["", "argo", "x/y", "sha256:ab", digest_of("a"), "v1", "pkg:oci/a@1", "ü", "a b", "chart", "1", "\x7f", "\\", None, 7]
)
_PURLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["pkg:oci/", "pkg:docker/", "pkg:generic/", "pkg:helm/", "pkg:npm/", "oci/"]),
    st.sampled_from(["argo-cd", "a/b/c", "A", "", "a//b", "..", "x" * 600]),
    st.sampled_from(["", "@1.2.3", "@" + digest_of("x"), "@" + digest_of("x").upper(), "@" + "9" * 300, "@1%2B2"]),
    st.sampled_from(
        [
            "",
            "?tag=v9",
            "?checksum=" + digest_of("y"),
            "?checksum=sha1:a," + digest_of("y"),
            "?repository_url=ghcr.io/a/argo-cd&tag=2",
            "?x=1",
            "?tag=",
        ]
    ),
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """A chart event with a few things changed, most of them for the worse."""
    event = chart_event("argo", "1.0.0")
    event["data"]["subject"]["id"] = draw(_PURLS)
    event["data"]["customData"] = draw(
        st.one_of(
            st.none(),
            st.text(max_size=3),
            st.fixed_dictionaries({}, optional=dict.fromkeys(("kind", "version", "digest", "z"), _WORDS)),
        )
    )
    for name in draw(
        st.lists(
            st.sampled_from(["type", "time", "subject", "datacontenttype", "id", "source", "specversion", "trace", "data"]),
            max_size=2,
        )
    ):
        event[name] = draw(
            st.one_of(
                _WORDS,
                st.sampled_from(
                    [
                        "dev.cdevents.artifact.deleted.9.9.9",
                        "dev.cdeventsx.artifact.published.0.1.0",
                        "2026-11-01 10:00:00Z",
                        "2026-11-01T10:00:00.5+01:00",
                    ]
                ),
            )
        )
    return event


@settings(max_examples=400)
@given(events())
def test_the_short_way_agrees_with_the_long_way(event: dict[str, Any]) -> None:
    """Whatever the short way takes, the long way takes as the same event."""
    body = encode(event)
    found = read_fast(body, LIMITS)
    if found is None:
        return
    slow = decode_slowly(Incoming(body), LIMITS)
    assert slow == found


@settings(max_examples=400)
@given(events())
def test_the_key_alone_is_the_events(event: dict[str, Any]) -> None:
    """The bridge's short way finds a key exactly where the whole event is found, and it is that event's."""
    body = encode(event)
    found = read_fast(body, LIMITS)
    assert read_key(body, LIMITS) == (None if found is None else found.artifact.key)


def test_the_common_event_takes_the_short_way() -> None:
    """If it did not, nothing would be wrong but the speed."""
    assert read_fast(encode(chart_event("argo-cd", "1.0.0")), LIMITS) is not None
    assert read_key(encode(chart_event("argo-cd", "1.0.0")), LIMITS) == "chart/argo-cd"


def test_what_is_refused_is_refused_on_the_long_way_with_its_reason() -> None:
    """The short way never refuses; it steps aside."""
    body = json.dumps(chart_event("argo-cd", "1.0.0") | {"time": "yesterday"}).encode()
    assert read_fast(body, LIMITS) is None
    with pytest.raises(Malformed, match=r"time\.invalid"):
        decode_slowly(Incoming(body), LIMITS)


_VERSIONS = st.one_of(
    st.from_regex(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,2}(-[a-z0-9]{1,3}(\.[a-z0-9]{1,3}){0,2})?(\+[a-z0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["1", "1.2", "v1.2.3", "01.2.3", "", "main", "1.2.3-", "1.2.3-01", "١.٢.٣"]),
)


@given(_VERSIONS, _VERSIONS)
def test_precedence_is_the_librarys(one: str, other: str) -> None:
    """Our tuples compare as the semver library compares, and exist for the same versions."""

    def parsed(text: str) -> semver.Version | None:
        try:
            return semver.Version.parse(text.removeprefix("v"), optional_minor_and_patch=True)
        except ValueError:
            return None

    a, b, ours, theirs = parsed(one), parsed(other), precedence(one), precedence(other)
    assert (a is None, b is None) == (ours is None, theirs is None)
    if a is not None and b is not None and ours is not None and theirs is not None:
        assert (a.compare(b) < 0, a.compare(b) == 0) == (ours < theirs, ours == theirs)
