"""The HTTP door as bytes: injected headers, methods in disguise, bodies that are too large, too deep, too slow, or larger than they look.

What must be true: every such request ends with a clear 4xx (or the connection's end), in bounded time and memory, and the next honest one
is answered.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import time
import zlib
from typing import Any

import pytest
from aiohttp import web

from gateway import server, serving
from gateway.app import BODY_BYTES_MAX, build_app
from tests.events import chart_event, encode
from tests.gateways import World

STRUCTURED = {"Content-Type": "application/cloudevents+json"}
JSON = {"Content-Type": "application/json"}


async def exchange(world: World, request: bytes, timeout_s: float = 10) -> bytes:
    """The beginning of what the server says to these bytes; all of it where they ask for the connection's end."""
    url = world.client.make_url("/")
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(request)
        await writer.drain()
        amount = -1 if b"Connection: close" in request else 65_536
        return await asyncio.wait_for(reader.read(amount), timeout_s)
    finally:
        writer.close()


def request_of(world: World, line: str, *headers: str, body: bytes = b"") -> bytes:
    known = f"Authorization: Bearer {world.key_of('operator')}"
    return "\r\n".join([line, "Host: gateway", known, *headers, "", ""]).encode() + body


def status_of(answer: bytes) -> int:
    """0 where the connection was ended without an answer."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


async def still_there(world: World) -> None:
    assert (await world.get("/v1/components")).status == 200


# -- headers -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events/urn%3Ax%0d%0aSet-Cookie%3A%20sm_session%3Dx/e1",
        "/v1/artifacts/chart%2Fa%0d%0aX-Injected%3A%20yes",
        "/v1/artifacts?limit=1&prefix=chart%0d%0aX-Injected:%20yes",
        "/v1/sync/operations/x%0d%0aX-Injected:%20yes",
        "/v1/keys?limit=1&principal=%0d%0aX-Injected:%20yes",
    ],
)
async def test_nothing_that_was_sent_becomes_a_header(world: World, path: str) -> None:
    """Line breaks in paths and queries stay where they are."""
    for number in range(3):
        world.artifact(f"chart\r\nX-Injected: yes/{number}")
    answer = await exchange(world, request_of(world, f"GET {path} HTTP/1.1", "Connection: close"))
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"\r\nx-injected" not in head
    assert b"\r\nset-cookie" not in head


async def test_links_and_locations_are_encoded(world: World) -> None:
    """An id with everything in it comes back percent-encoded in `Location`."""
    event = chart_event("a", "1.0.0", ident="e1%0d%0aX-Injected: yes/../?#é", source="urn:x?y#z")
    response = await world.post("/v1/events", by="c24", headers=STRUCTURED, data=encode(event))
    assert response.status == 202
    assert response.headers["Location"].isascii()
    assert not set(response.headers["Location"]) & set(" \r\n?#")
    assert "X-Injected" not in response.headers


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: -1"],
        ["Content-Length: +5"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding : chunked"],
        ["X: a\r\n folded"],
        ["X: a\0b"],
        ["X\0: a"],
        ["Bad Header: x"],
    ],
)
async def test_requests_that_two_servers_would_read_differently(world: World, headers: list[str]) -> None:
    """Two lengths, a length and chunks, folded lines, NULs: refused, so that no proxy and we see different requests."""
    answer = await exchange(world, request_of(world, "POST /v1/sync HTTP/1.1", *headers, body=b"5\r\nhello\r\n0\r\n\r\n"))
    assert status_of(answer) in (0, 400, 501), answer[:200]
    assert world.log.commands == []
    await still_there(world)


async def test_a_second_request_in_a_body_is_not_one(world: World) -> None:
    """What stands behind the body's length, without a key, is answered as what it is: nobody's."""
    inner = b"GET /v1/keys HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
    outer = request_of(world, "GET /livez HTTP/1.1", "Content-Length: 0", body=inner)
    answer = await exchange(world, outer)
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 401]


# -- methods -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "CONNECT", "FOO"])
async def test_other_methods(world: World, method: str) -> None:
    """Are not allowed on any path, and never give CORS consent."""
    for path in ("/v1/sync", "/v1/keys", "/v1/artifacts/chart%2Fa", "/"):
        headers = (
            "Origin: https://evil.example",
            "Access-Control-Request-Method: POST",
            "Connection: close",
            "Content-Length: 0",
        )
        answer = await exchange(world, request_of(world, f"{method} {path} HTTP/1.1", *headers))
        assert status_of(answer) in (400, 404, 405), (path, answer[:100])
        assert b"access-control-allow" not in answer.lower()


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"])
async def test_a_method_is_what_the_request_line_says(world: World, name: str) -> None:
    """No header and no parameter makes a read a write, or lets a read's key write."""
    world.artifact("chart/a")
    headers = {name: "POST", **JSON}
    response = await world.request("GET", "/v1/sync", by="operator", headers=headers, data=b'{"artifact":"chart/a"}')
    assert (response.status, world.log.commands) == (200, [])
    response = await world.request("GET", f"/v1/sync?{name}=POST", by="operator")
    assert (response.status, world.log.commands) == (400, [])


# -- bodies ------------------------------------------------------------------------------------------------------------------

DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b'{"selector":' * 500 + b"{}" + b"}" * 500,
        b'{"artifact":"' + b"x" * (BODY_BYTES_MAX - 100) + b'"}',
        b'{"reason":"' + b"\\u0000" * 10_000 + b'"}',
        b'{"limit":' + b"9" * 100_000 + b"}",
        b'{"artifact":NaN}',
        b'{"artifact":"chart/a"' + b',"artifact":"chart/a"' * 10_000 + b',"x":1}',
        b"\xff\xfe\x00",
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: repr(body[:14]),
)
async def test_bodies_that_are_no_requests(world: World, body: bytes) -> None:
    """Nested a hundred thousand deep, huge numbers and names, NULs, repeated members: 4xx with a short problem, soon."""
    for path in ("/v1/sync", "/v1/keys", "/v1/events"):
        began = time.monotonic()
        response = await world.post(path, headers=STRUCTURED if path == "/v1/events" else JSON, data=body)
        problem = await response.json()
        assert response.status in (400, 413, 422), (path, problem)
        assert len(json.dumps(problem)) < 10_000
        assert time.monotonic() - began < 10
    assert (world.log.commands, world.publisher.published) == ([], [])


async def test_an_event_is_as_deep_as_the_limit_says(world: World) -> None:
    """At the bound it is taken, one deeper it is refused: before it is parsed."""
    depth_max = world.settings.limits.json_depth_max
    event = chart_event("a", "1.0.0")
    room = depth_max - 2  # the event, data
    for more, status in ((0, 202), (1, 422)):
        nested: Any = 1
        for _ in range(room + more):
            nested = {"x": nested}
        event["data"]["customData"] = nested
        response = await world.post("/v1/events", by="c24", headers=STRUCTURED, data=encode(event))
        assert response.status == status, await response.text()


async def test_a_body_that_is_too_large(world: World) -> None:
    """Told by its length it is refused unread; without a length, as soon as the bound is passed."""
    size = 1 << 40
    answer = await exchange(
        world,
        request_of(
            world, "POST /v1/sync HTTP/1.1", "Content-Type: application/json", f"Content-Length: {size}", body=b"{" * 5_000_000
        ),
    )
    assert status_of(answer) == 413
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = request_of(world, "POST /v1/sync HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked")
    answer = await exchange(world, head + chunk * 80)
    assert status_of(answer) == 413
    await still_there(world)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_larger_than_it_looks(world: World, encoding: str) -> None:
    """What grows a thousandfold when it is unpacked is refused at the same bound, and is never whole in memory."""
    plain = b" " * (256 << 20)
    packed = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    del plain
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    response = await world.post("/v1/sync", headers={**JSON, "Content-Encoding": encoding}, data=packed)
    assert response.status in (400, 413)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10, "in KiB"
    await still_there(world)


@pytest.mark.parametrize("path", ["/v1/sync", "/v1/events", "/login"])
async def test_a_body_that_does_not_come(world: World, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Byte by byte, or not at all: after a bounded time the answer is 408, and others are answered meanwhile."""
    monkeypatch.setattr(serving, "_BODY_TIMEOUT_S", 0.3)
    types = {"/v1/events": "application/cloudevents+json", "/login": "application/x-www-form-urlencoded"}
    head = request_of(
        world, f"POST {path} HTTP/1.1", f"Content-Type: {types.get(path, 'application/json')}", "Content-Length: 100"
    )
    url = world.client.make_url("/")
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(head)

    async def drip() -> None:
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    try:
        await still_there(world)
        assert status_of(await asyncio.wait_for(reader.read(65_536), 5)) == 408
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()


async def test_headers_that_do_not_come(world: World) -> None:
    """A connection on which no request is complete after the time for idle ones is ended, however busily it drips."""
    assert server._KEEPALIVE_S <= 75
    runner = web.AppRunner(build_app(world.context, world.keyring), keepalive_timeout=0.4)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    try:
        writer.write(b"GET /v1/components HTTP/1.1\r\n")
        ended = asyncio.create_task(reader.read())
        deadline = time.monotonic() + 5
        while not ended.done():
            assert time.monotonic() < deadline
            writer.write(b"X-Slow: yes\r\n")
            await asyncio.sleep(0.05)
        assert await ended == b""
    finally:
        writer.close()
        await runner.cleanup()


@pytest.mark.parametrize(
    "fields",
    [{"key": "x" * 100_000}, {"key": "\0"}, {"key": ""}, {}, {"key": ["a", "b"]}, {"other": "x"}],
    ids=["huge", "nul", "empty", "none", "two", "other"],
)
async def test_a_form_that_is_no_login(world: World, fields: dict[str, Any]) -> None:
    """The form again, with 401; nothing of what was sent is in it."""
    pairs = [(name, value) for name, values in fields.items() for value in ([values] if isinstance(values, str) else values)]
    response = await world.request(
        "POST", "/login", data=pairs or b"", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert response.status == 401
    assert "x" * 100 not in await response.text()


async def test_a_form_with_a_file(world: World) -> None:
    """multipart is no login form: nothing is unpacked or kept."""
    body = b'--b\r\nContent-Disposition: form-data; name="key"; filename="x"\r\n\r\n' + b"x" * 1000 + b"\r\n--b--\r\n"
    response = await world.request("POST", "/login", data=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert response.status == 415


async def test_a_form_in_a_charset_of_nobody(world: World) -> None:
    """The sender's word for how to read it is not asked for; too many fields are refused."""
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=no-such-thing"}
    assert (await world.request("POST", "/login", data=b"key=\xff\xfe", headers=headers)).status == 401
    assert (await world.request("POST", "/login", data=b"a=1&" * 1000, headers=headers)).status == 400


async def test_the_form_does_not_run_what_it_shows(world: World) -> None:
    """The login page has a policy that runs nothing but its own script, and echoes no input."""
    response = await world.request("POST", "/login?next=//evil.example", data={"key": "<script>alert(1)</script>"})
    text = await response.text()
    assert "alert(1)" not in text
    assert "evil.example" not in text
    assert "script-src 'nonce-" in response.headers["Content-Security-Policy"]
