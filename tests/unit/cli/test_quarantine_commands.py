"""`syncmaster quarantine`: what it asks a gateway, and what it shows. The gateway is scripted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from tests.scripted import KEY, Scripted

OPERATION = {"id": "op1", "verb": "release", "entries": 1, "about": "chart/a 1"}
ENTRY = {
    "artifact": "chart/a",
    "id": "1",
    "kept": "parked",
    "reason": "source.denied",
    "rule": "r",
    "principal": "c24",
    "at": "2026",
}


def quarantine(server: Scripted, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["quarantine", *arguments, "--url", server.url], env={"SYNCMASTER_API_KEY": KEY})


def asked(server: Scripted) -> tuple[str, str, Any]:
    method, path, _, body = server.asked[-1]
    return method, path, json.loads(body) if body else None


def test_list_passes_its_filters_on(server: Scripted) -> None:
    """Every option is a filter of the list; the table has what a decision needs."""
    server.answer(200, {"items": [ENTRY], "next_cursor": None})
    result = quarantine(server, "list", "--rule", "r", "--code", "source.denied", "--artifacts", "chart/*", "--kept", "parked")

    assert asked(server)[1] == "/v1/quarantine?artifacts=chart%2F%2A&rule=r&reason=source.denied&kept=parked"
    assert "source.denied" in result.stdout


@pytest.mark.parametrize(("text", "shown"), [("hello", "hello"), (None, "AAE=")])
def test_show_prints_text_where_it_is_text(server: Scripted, text: str | None, shown: str) -> None:
    """One of the two, for people; both for tools."""
    server.answer(200, ENTRY | {"body_text": text, "body_base64": "AAE="})
    result = quarantine(server, "show", "chart/a", "1")

    assert asked(server)[:2] == ("GET", "/v1/quarantine/chart%2Fa/1")
    assert shown in result.stdout
    assert ("AAE=" in result.stdout) == (text is None)


@pytest.mark.parametrize("verb", ["release", "discard"])
def test_one_entry_is_decided(server: Scripted, verb: str) -> None:
    """Artifact, id and reason; the operation's id is alone on stdout."""
    server.answer(202, OPERATION | {"verb": verb})
    result = quarantine(server, verb, "chart/a", "1", "--reason", "looked at it")

    assert asked(server) == ("POST", f"/v1/quarantine/chart%2Fa/1/{verb}", {"reason": "looked at it"})
    assert (result.exit_code, result.stdout) == (0, "op1\n")


def test_a_filter_is_decided(server: Scripted) -> None:
    """Options select; what was not given is not sent."""
    server.answer(202, OPERATION)
    quarantine(server, "discard", "--rule", "r", "--since", "2026-11-23T17:00:00Z", "--reason", "x")

    assert asked(server) == ("POST", "/v1/quarantine/discard", {"rule": "r", "since": "2026-11-23T17:00:00Z", "reason": "x"})


@pytest.mark.parametrize("arguments", [(), ("chart/a",), ("chart/a", "1", "--rule", "r")])
def test_what_to_decide_has_to_be_clear(server: Scripted, arguments: tuple[str, ...]) -> None:
    """Neither one entry nor a filter, or both: nothing is asked, and the next step is told."""
    result = quarantine(server, "discard", *arguments, "--reason", "x")

    assert (result.exit_code, server.asked) == (1, [])
    assert "syncmaster quarantine list" in result.stderr
