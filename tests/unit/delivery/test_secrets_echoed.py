"""A component that answers with what it was sent: our own secret is not kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agents.sinks.sink_http import HttpSink
from streams.errors import Retriable
from streams.settings import HttpSink as Config
from streams.settings import SecretRef
from tests.deliveries import delivery

SECRET = "a-bearer-that-nobody-should-read"


async def _echo(request: web.Request) -> web.Response:
    return web.Response(status=500, text=f"you said {request.headers['Authorization']}")


async def test_bearer_is_taken_out_of_the_reason(tmp_path: Path) -> None:
    """The reason of a failed attempt, which goes to state and audit, says what the component answered without the sink's bearer."""
    (tmp_path / "bearer").write_text(SECRET)
    app = web.Application()
    app.router.add_post("/events", _echo)
    async with TestServer(app) as server:
        config = Config(type="http", url=str(server.make_url("/events")), bearer=SecretRef(file=tmp_path / "bearer"))
        sink = HttpSink(config)
        try:
            with pytest.raises(Retriable) as raised:
                await sink.deliver(delivery())
        finally:
            await sink.aclose()
    assert str(raised.value) == "HTTP 500: you said Bearer ***"
