"""A Helm repository's index becomes events: order, identity, and entries that cannot be one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streams.codec import decode_event
from streams.errors import Malformed
from streams.events import Action, Event, Incoming
from streams.helm_index import events_of_index, source_of
from streams.settings import Limits

REAL = Path(__file__).parents[4] / "shared" / "data" / "argo-helm" / "index.yaml"
URL = "https://charts.example/stable/index.yaml"
D = "d" * 64

INDEX = f"""
apiVersion: v1
entries:
  app:
  - {{name: app, version: 1.10, digest: {D}, created: 2026-01-02T00:00:00.5Z, urls: [app-1.10.tgz], appVersion: 1.0}}
  - {{name: app, version: 1.1.0, digest: "sha256:{D}", created: "2026-01-01T00:00:00+02:00", urls: [https://else.example/app.tgz]}}
  - {{name: app, version: 1.0.0+b5, created: "2026-01-01T00:00:00+02:00"}}
  other:
  - {{name: other, version: 2.0.0, removed: true, digest: {D}, created: "2026-01-01T12:00:00Z"}}
  - {{name: other, version: 1.0.0}}
"""


def read(text: str | bytes, place: str = URL) -> tuple[list[Event], list[str]]:
    problems: list[str] = []
    events = [decode_event(Incoming(body), Limits()) for body in events_of_index(text, place, problems.append)]
    return events, problems


def test_oldest_first() -> None:
    """Sent by `created`, whatever zone it is in; ties and missing dates against the listing, which has the newest first."""
    events, problems = read(INDEX)
    assert [(event.artifact.name, event.artifact.version) for event in events] == [
        ("other", "1.0.0"),
        ("app", "1.0.0+b5"),
        ("app", "1.1.0"),
        ("other", "2.0.0"),
        ("app", "1.10"),
    ]
    assert problems == []


def test_what_an_entry_says() -> None:
    """Version as it is spelt, digest, time and source; a removed entry is a deletion."""
    events, _ = read(INDEX)
    newest, removed = events[-1], events[-2]
    assert (newest.artifact.key, newest.artifact.digest) == ("chart/app", f"sha256:{D}")
    assert (newest.source, newest.time) == ("https://charts.example/stable", "2026-01-02T00:00:00.5Z")
    assert json.loads(list(events_of_index(INDEX, URL))[-1])["data"]["customData"]["appVersion"] == "1.0"
    assert "download_url=https://charts.example/stable/app-1.10.tgz" in (newest.subject or "")
    assert removed.artifact.action is Action.DELETED


def test_second_run_gives_the_same_bytes() -> None:
    """Ids come from the content, so an index that is imported again is all duplicates; another digest is another event."""
    first = list(events_of_index(INDEX, URL))
    assert list(events_of_index(INDEX.encode(), URL)) == first
    changed = list(events_of_index(INDEX.replace(D, "e" * 64), URL))
    assert len({json.loads(body)["id"] for body in first + changed}) == 5 + 3


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("just text", "expected a mapping"),
        ("{name: app}", "no version"),
        ("{name: else, version: 1.0.0}", "calls itself 'else'"),
        ("{name: app, version: 1.0.0, digest: abc}", "no SHA-256"),
        ("{name: app, version: 1.0.0, digest: [abc]}", "no SHA-256"),
        ("{name: app, version: 1.0.0, created: yesterday}", "no RFC 3339 timestamp"),
        ("{name: app, version: 1.0.0, urls: app.tgz}", "no list of strings"),
    ],
)
def test_bad_entry_is_reported_and_left_out(entry: str, problem: str) -> None:
    """One bad entry is one line of report; the others are events."""
    events, problems = read(f"entries:\n  app:\n  - {entry}\n  - {{name: app, version: 9.0.0}}\n  bad: 7\n")
    assert [event.artifact.version for event in events] == ["9.0.0"]
    assert len(problems) == 2
    assert problem in problems[0]


@pytest.mark.parametrize(
    "text", ["", "7", "a: [", "entries: 7", "\x00", b"\xff", "[" * 100_000, "- " * 50_000, "a: &a [*a]\nb: *c"]
)
def test_what_is_no_index_is_malformed(text: Any) -> None:
    """Anything else is refused; YAML that is nested without end does not take the process down."""
    with pytest.raises(Malformed, match=r"index\.invalid"):
        read(text)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("https://user:secret@charts.example/stable/index.yaml?token=x", "https://charts.example/stable"),
        ("https://charts.example", "https://charts.example"),
        ("/srv/argo helm/index.yaml", "urn:helm-index:argo%20helm"),
        ("index.yaml", "urn:helm-index:local"),
    ],
)
def test_source_tells_the_place_and_no_secret(place: str, source: str) -> None:
    """An index is known by its URL without credentials, or by its folder's name on any machine."""
    assert source_of(place) == source


@pytest.mark.skipif(not REAL.exists(), reason="the real Argo index is not beside this checkout")
def test_the_real_index() -> None:
    """All 1,628 chart versions of the Argo project are events, each chart in the order of its dates."""
    events, problems = read(REAL.read_bytes(), str(REAL))
    assert problems == []
    assert len({(event.source, event.id) for event in events}) == 1628
    assert Counter(event.artifact.key for event in events)["chart/argo-cd"] == 902
    assert all(event.artifact.digest for event in events)
    times = [event.time or "" for event in events]
    assert times == sorted(times)
