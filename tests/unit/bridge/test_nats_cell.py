"""Compare-and-set against a scripted JetStream: lost replies, lost races, absences."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout

from streams.errors import Fenced, Retriable
from streams.nats_cell import Cell, Entry


class Answer:
    def __init__(self, content: dict[str, Any]) -> None:
        self.data = json.dumps(content).encode()


class ScriptedNats:
    """One key in memory. `lose` says for each write in turn whether its request ("request") or its reply ("reply") gets lost."""

    def __init__(self, *lose: str) -> None:
        self.value: bytes | None = None
        self.headers = b""
        self.revision = 0
        self.lose = list(lose)

    async def request(self, subject: str, payload: bytes, timeout: float, headers: dict[str, str] | None = None) -> Answer:
        if subject.startswith("$JS.API"):
            return self._read()
        fate = self.lose.pop(0) if self.lose else ""
        if fate == "request":
            raise NatsTimeout
        assert headers is not None
        if int(headers["Nats-Expected-Last-Subject-Sequence"]) != self.revision:
            return Answer({"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence"}})
        self.revision += 1
        self.value = payload
        self.headers = b"NATS/1.0\r\nKV-Operation: DEL\r\n\r\n" if "KV-Operation" in headers else b""
        if fate == "reply":
            raise NatsTimeout
        return Answer({"stream": "KV_b", "seq": self.revision})

    def _read(self) -> Answer:
        if self.value is None:
            return Answer({"error": {"code": 404, "err_code": 10037, "description": "no message found"}})
        message = {
            "seq": self.revision,
            "data": base64.b64encode(self.value).decode(),
            "hdrs": base64.b64encode(self.headers).decode(),
        }
        return Answer({"message": message})


def cell(server: ScriptedNats) -> Cell:
    client: Client = server
    return Cell(client, "b", "k")


async def test_a_write_whose_reply_was_lost_has_won() -> None:
    """It looks like losing the compare-and-set; reading back shows our own value."""
    assert await cell(ScriptedNats("reply")).write(b"mine", 0) == 1


async def test_a_write_that_never_arrived_is_repeated() -> None:
    """Reading back shows the old revision: nobody has won, so try again."""
    server = ScriptedNats("request")
    assert await cell(server).write(b"mine", 0) == 1
    assert server.value == b"mine"


async def test_a_write_that_came_second_is_fenced() -> None:
    """Another value with another revision means another bridge."""
    server = ScriptedNats()
    await cell(server).write(b"theirs", 0)
    with pytest.raises(Fenced, match="another bridge"):
        await cell(server).write(b"mine", 0)


async def test_a_write_that_nobody_answers_is_not_lost_and_not_won() -> None:
    """After some attempts the caller is told that nobody knows."""
    with pytest.raises(Retriable):
        await cell(ScriptedNats(*["request"] * 9)).write(b"mine", 0)


async def test_a_deleted_key_is_absent_but_keeps_its_revision() -> None:
    """So that the next write can name it."""
    server = ScriptedNats()
    it = cell(server)
    await it.clear(await it.write(b"mine", 0))
    assert await it.read() == Entry(None, 2)
    assert await it.write(b"again", 2) == 3


async def test_a_key_that_was_never_there_is_absent() -> None:
    """Revision 0 stands for "must not be there"."""
    assert await cell(ScriptedNats()).read() == Entry(None, 0)
