"""What a command says to a gateway, and what it says to its user when that goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.api import Api, ApiError, gateway_api, problems_told, show, show_one
from streams.errors import ConfigError
from tests.scripted import KEY, Scripted


def test_a_call_carries_key_query_and_body(server: Scripted) -> None:
    """The key is a bearer token, the body JSON, and what the query leaves open is not sent."""
    server.answer(201, {"id": "k1"})
    answer = Api(server.url, KEY).call("POST", "/v1/keys", json={"principal": "c4"}, query={"a": "x/y", "b": None})
    ((method, path, headers, body),) = server.asked
    assert (answer, method, path, json.loads(body)) == ({"id": "k1"}, "POST", "/v1/keys?a=x%2Fy", {"principal": "c4"})
    assert (headers["Authorization"], headers["Content-Type"]) == (f"Bearer {KEY}", "application/json")


def test_an_answer_without_a_body_is_none(server: Scripted) -> None:
    """204 has nothing to decode."""
    server.answer(204)
    assert Api(server.url, KEY).call("POST", "/x") is None


def test_items_follow_the_pages(server: Scripted) -> None:
    """A list is read to its last page, each with the cursor of the one before."""
    server.answer(200, {"items": [1, 2], "next_cursor": "c1"})
    server.answer(200, {"items": [3], "next_cursor": None})
    assert list(Api(server.url, KEY).items("/v1/keys", {"limit": 2})) == [1, 2, 3]
    assert [path for _, path, *_ in server.asked] == ["/v1/keys?limit=2", "/v1/keys?limit=2&cursor=c1"]


def test_lines_of_a_long_text(server: Scripted) -> None:
    """A text is given line by line, bytes as they are."""
    server.answer(200, b'{"a":1}\n{"b":2}\n')
    assert list(Api(server.url, KEY).lines("/export")) == [b'{"a":1}', b'{"b":2}']


def test_a_problem_is_told_with_the_next_step(server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    """What was wrong, its code, what to do, and exit code 1."""
    server.answer(403, {"code": "auth.denied", "detail": "principal 'c4' may not"})
    with pytest.raises(SystemExit) as stopped, problems_told():
        Api(server.url, KEY).call("GET", "/v1/keys")
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("principal 'c4' may not [auth.denied]; `syncmaster auth can-i`")


def test_retry_after_is_told(server: Scripted) -> None:
    """A gateway that is not ready says when to come again."""
    server.answer(503, {"code": "replica.restoring", "detail": "not yet"}, Retry_After="3")
    with pytest.raises(ApiError, match="try again in 3 s") as refused:
        Api(server.url, KEY).call("GET", "/x")
    assert (refused.value.status, refused.value.code) == (503, "replica.restoring")


@pytest.mark.parametrize(("status", "body"), [(502, b"<html>proxy</html>"), (500, b"[]"), (404, b"")])
def test_an_answer_that_is_not_a_gateways(server: Scripted, status: int, body: bytes) -> None:
    """Whatever stands between is told by its status, not by a traceback."""
    server.answer(status, body)
    with pytest.raises(ApiError, match=f"the answer was {status}"):
        Api(server.url, KEY).call("GET", "/x")


def test_the_key_is_never_taken_elsewhere(server: Scripted) -> None:
    """A redirect is not followed: the key is for the gateway that was named."""
    server.answer(302, None, Location=f"{server.url}/elsewhere")
    with pytest.raises(ApiError, match="the answer was 302"):
        Api(server.url, KEY).call("GET", "/x")
    assert len(server.asked) == 1


def test_proxies_of_the_environment_do_not_see_the_key(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway is asked directly, whatever the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.answer(200, {})
    assert Api(server.url, KEY).call("GET", "/x") == {}


def test_a_gateway_that_is_away() -> None:
    """Nobody there: the address, and how to start or name one; never the key."""
    with pytest.raises(ApiError, match=r"http://127\.0\.0\.1:1 gives no answer .*start it with `syncmaster gateway`") as away:
        Api("http://127.0.0.1:1", KEY).call("GET", "/x")
    assert KEY not in str(away.value)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SYNCMASTER_URL", raising=False)
    monkeypatch.setenv("SYNCMASTER_API_KEY", KEY)
    path = tmp_path / "syncmaster.yaml"
    path.write_text("cluster: here\ngateway: {host: 0.0.0.0, port: 8099}\n")
    return path


def test_the_url_comes_from_option_environment_configuration(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order; a gateway that listens everywhere is asked on loopback."""
    assert gateway_api(None, None, file)._url == "http://127.0.0.1:8099"
    monkeypatch.setenv("SYNCMASTER_URL", "https://gateway.example")
    assert gateway_api(None, None, file)._url == "https://gateway.example"
    assert gateway_api("http://other:1/", None, file)._url == "http://other:1"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gateway:8056", ""])
def test_only_http_is_spoken(file: Path, url: str) -> None:
    """A URL that is none, or leads to a file, is refused before anything is opened."""
    with pytest.raises(ConfigError, match="no URL of a gateway"):
        Api(url, KEY)


def test_the_key_comes_from_file_or_environment(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named file wins; without either the next step is told, and an unreadable one is named."""
    (tmp_path / "key").write_text("sm_file_0123456789abcdef\n")
    assert gateway_api(None, tmp_path / "key", file)._key == "sm_file_0123456789abcdef"
    assert gateway_api(None, None, file)._key == KEY
    with pytest.raises(ConfigError, match="cannot read an API key"):
        gateway_api(None, tmp_path / "none", file)
    monkeypatch.delenv("SYNCMASTER_API_KEY")
    with pytest.raises(ConfigError, match="set SYNCMASTER_API_KEY"):
        gateway_api(None, None, file)


def test_a_key_of_two_lines_is_refused_without_being_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not be a header; the message does not hold it."""
    monkeypatch.setenv("SYNCMASTER_API_KEY", "first-line\nsecond-line")
    with pytest.raises(ConfigError) as refused:
        gateway_api(None, None, file)
    assert "second-line" not in str(refused.value)


def test_tools_get_json_and_people_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has the columns that were asked for, JSON has everything."""
    items = [{"id": "k1", "scopes": ["read", "sync"], "more": 1}]
    show(items, ("id", "scopes"))
    assert capsys.readouterr().out.split() == ["ID", "SCOPES", "k1", "read,", "sync"]
    show(iter(items), ("id",), "json")
    assert json.loads(capsys.readouterr().out) == items


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are shown, not obeyed, in tables, in single items and in problems."""
    show([{"id": "a\x1b[2Jb"}], ("id",))
    show_one({"id": "a\x1b[2Jb"})
    with pytest.raises(SystemExit), problems_told():
        raise ConfigError("a\x1b[2Jb")
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert (told.out.count(r"a\x1b[2Jb"), told.err) == (2, "a\\x1b[2Jb\n")
