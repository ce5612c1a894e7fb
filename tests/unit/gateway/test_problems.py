"""Errors are RFC 9457 problems, all of them; and what surrounds every answer."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientResponse

from gateway.problems import NotFound, Problem, Unavailable, problem_for
from streams.errors import Fatal, Malformed, NotAllowed, Retriable
from tests.gateways import World


async def assert_problem(response: ClientResponse, status: int, code: str) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    problem: dict[str, Any] = await response.json()
    assert problem.keys() >= {"type", "title", "status", "detail", "instance", "code"}
    assert (response.status, problem["status"], problem["code"]) == (status, status, code)
    assert problem["type"] == f"urn:syncmaster:problem:{code}"
    assert problem["instance"] == response.url.raw_path
    return problem


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", {}, 404, "path.unknown"),
        ("GET", "/v1/artifacts/", {}, 404, "path.unknown"),
        ("DELETE", "/v1/artifacts", {}, 405, "method.not_allowed"),
        ("POST", "/v1/sync", {"data": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, "body.media_type"),
        ("POST", "/v1/sync", {"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "body.invalid"),
        ("POST", "/v1/sync", {"json": {}}, 422, "body.invalid"),
        ("POST", "/v1/sync", {"json": {"artifact": "a/b", "component": "c20"}}, 422, "body.invalid"),
        ("POST", "/v1/sync", {"json": {"artefact": "a/b"}}, 422, "body.invalid"),
        ("POST", "/v1/sync", {"json": [1]}, 422, "body.invalid"),
        ("POST", "/v1/sync", {"data": b"x" * (5 << 20), "headers": {"Content-Type": "application/json"}}, 413, "body.too_large"),
        ("GET", "/v1/artifacts?min_token=x", {}, 400, "token.malformed"),
        ("GET", "/v1/components/none", {}, 404, "component.unknown"),
        ("GET", "/v1/quarantine/unknown%2Fc4/1", {}, 404, "quarantine.unknown"),
        ("GET", "/v1/events/urn%3Atest/none", {}, 404, "event.unknown"),
        ("GET", "/v1/sync/operations/none", {}, 404, "operation.unknown"),
    ],
)
async def test_every_error_is_a_problem(
    world: World, method: str, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    """Each kind of error has its status, its stable code and the members of RFC 9457."""
    await assert_problem(await world.request(method, path, by="operator", **body), status, code)


async def test_allow(world: World) -> None:
    """405 tells what the path takes."""
    response = await world.request("DELETE", "/v1/sync", by="operator")
    assert {method.strip() for method in response.headers["Allow"].split(",")} == {"GET", "HEAD", "POST"}


async def test_violations_name_the_place_and_not_the_value(world: World) -> None:
    """A body that is not valid is told where, without repeating what was sent."""
    response = await world.post("/v1/sync", json={"artifact": "chart/a", "reason": "s3cret" * 100})
    problem = await assert_problem(response, 422, "body.invalid")
    assert problem["violations"][0]["at"] == "reason"
    assert "s3cret" not in await response.text()


async def test_what_nobody_foresaw(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours is a 500 that tells nothing of the inside."""

    def broken(_: object) -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr("gateway.operations.components.list_components", broken)
    response = await world.get("/v1/components")
    await assert_problem(response, 500, "internal")
    assert "inner secret" not in await response.text()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("a.unknown", "x"), 404, "a.unknown"),
        (NotAllowed("a.no", "x"), 403, "a.no"),
        (Malformed("a.bad", "x"), 422, "a.bad"),
        (Retriable("away"), 503, "unavailable"),
        (Unavailable("a.away", "x"), 503, "a.away"),
        (Problem(418, "a.teapot", "x"), 418, "a.teapot"),
    ],
)
def test_errors_of_operations(error: Exception, status: int, code: str) -> None:
    """Each branch of the error tree that an operation may raise has its status."""
    problem = problem_for(error)
    assert problem is not None
    assert (problem.status, problem.code) == (status, code)
    assert ("Retry-After" in problem.headers) == (status == 503)


def test_errors_that_are_no_answer() -> None:
    """What is not an answer to a caller is not made into one."""
    assert problem_for(Fatal("stop")) is None
    assert problem_for(ValueError()) is None


@pytest.mark.parametrize("path", ["/v1/components", "/nowhere", "/livez", "/"])
async def test_security_headers(world: World, path: str) -> None:
    """Every answer forbids sniffing, storing, framing and foreign content."""
    headers = (await world.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


async def test_requests_are_counted_by_route(world: World) -> None:
    """The metrics' labels are routes, never paths: those hold artifact keys."""
    world.artifact("chart/metrics-test")
    await world.get("/v1/artifacts/chart%2Fmetrics-test")
    await world.get("/never-a-label")
    text = await (await world.get("/metrics", by=None)).text()
    assert 'route="/v1/artifacts/{key}"' in text
    assert 'route="unknown"' in text
    assert "metrics-test" not in text
    assert "never-a-label" not in text
