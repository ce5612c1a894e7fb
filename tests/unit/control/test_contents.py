"""What the records of [control] say, taken together."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streams import control
from streams.commands import Operation
from streams.control import ApiKey, Contents, Entry, Hold, control_key
from tests.events import FakeRecord


def put(entry: Entry) -> FakeRecord:
    return FakeRecord(0, control_key(type(entry), entry.id), msgspec.json.encode(entry), ())


def gone(kind: type[Entry], ident: str) -> Any:
    return FakeRecord(0, control_key(kind, ident), None, ())  # type: ignore[arg-type]


HOLD = Hold("h1", "hold", ("chart/*",), "c20", "operator", "broken", 5)
KEY = ApiKey("k1", "c4", "00" * 32, ("read",), 5, "operator", 9)


def test_each_kind_is_found_by_its_id() -> None:
    """Operations, holds and keys lie side by side; what has another key is left alone."""
    contents = Contents()
    contents.take([put(HOLD), put(KEY), put(Operation("o1", "operator", 5, 1)), FakeRecord(0, b"else/x", b"{}", ())])
    assert (contents.holds, contents.keys, list(contents.operations)) == ({"h1": HOLD}, {"k1": KEY}, ["o1"])


def test_a_tombstone_releases() -> None:
    """What has been taken away is not in effect any more, and taking away what is not there is nothing."""
    contents = Contents()
    contents.take([put(HOLD), gone(Hold, "h1"), gone(Hold, "h2")])
    assert contents.holds == {}


def test_only_holds_and_keys_are_changes() -> None:
    """Whoever waits for a change is not woken by every manual sync."""
    contents = Contents()
    assert not contents.take([put(Operation("o1", "operator", 5, 1))])
    assert contents.take([put(HOLD)])
    assert contents.take([gone(Hold, "h1")])


def test_a_hold_that_is_not_understood_stops_everything() -> None:
    """What it should stop is not known, so everything is: an older worker must not deliver past a newer hold."""
    contents = Contents()
    contents.take([FakeRecord(0, b"hold/h1", b'{"id":"h1","verb":"freeze"}', ())])
    (hold,) = contents.holds.values()
    assert (hold.verb, hold.artifacts, hold.component) == ("halt", (), "")
    assert "not understood" in hold.reason


def test_a_key_that_is_not_understood_opens_nothing() -> None:
    """It is not there, and one that was there under its id is not there any more."""
    contents = Contents()
    contents.take([put(KEY), FakeRecord(0, b"key/k1", b'{"id":"k1","scopes":["everything"]}', ())])
    assert contents.keys == {}


@pytest.mark.parametrize(
    ("expires_ms", "revoked_ms", "good"), [(0, 0, True), (101, 0, True), (100, 0, False), (0, 1, False), (101, 1, False)]
)
def test_a_key_is_good_until_it_expires_or_is_revoked(expires_ms: int, revoked_ms: int, good: bool) -> None:
    """Expiry is the first moment at which it is good no more; 0 stands for never."""
    assert ApiKey("k1", "c4", "", expires_ms=expires_ms, revoked_ms=revoked_ms).good(100) is good


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest operation gives way; of keys only one that is good for nothing may."""
    monkeypatch.setattr(control, "OPERATIONS_MAX", 2)
    monkeypatch.setattr(control, "KEYS_MAX", 2)
    contents = Contents()
    contents.take([put(Operation(f"o{n}", "operator", n, 1)) for n in range(3)])
    contents.take([put(ApiKey("k1", "c4", "")), put(ApiKey("k2", "c4", "", expires_ms=50))])
    assert (list(contents.operations), contents.superfluous_operation()) == (["o1", "o2"], "o1")
    assert (contents.superfluous_key(10), contents.superfluous_key(50)) == (None, "k2")


def test_a_key_says_nothing_of_its_secret() -> None:
    """The record has a hash of 256 random bits: reading [control] opens no door."""
    assert "hash" in KEY.__struct_fields__
    assert not {"secret", "key", "token"} & set(KEY.__struct_fields__)
