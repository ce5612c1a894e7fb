"""The status page, its data, the probes and the description."""

from __future__ import annotations

import json
import time

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.app import REGISTRIES
from gateway.context import RestoreRate
from gateway.openapi import build_openapi
from streams.publisher import DoorState
from tables.audit_record import Outcome
from tests.gateways import NOW_MS, World, behind, failed, in_sync


async def test_status(world: World) -> None:
    """One answer says whether everything is in step, and what is not, the oldest first."""
    world.artifact("chart/a", c20=in_sync(), c28=in_sync())
    assert (await (await world.get("/v1/status")).json())["in_step"] is True
    world.artifact("chart/b", c20=behind(NOW_MS - 1000), c28=failed(NOW_MS - 2000))
    world.audit(Outcome.ACCEPTED, artifact="chart/a")
    status = await (await world.get("/v1/status")).json()
    assert (status["in_step"], status["artifacts"], status["outcomes"]) == (False, {"chart": 2}, {"accepted": 1})
    assert [(pair["artifact"], pair["component"]) for pair in status["most_out_of_step"]] == [
        ("chart/b", "c28"),
        ("chart/b", "c20"),
    ]


async def test_not_in_step_while_restoring(world: World) -> None:
    """A replica that does not know everything does not say that everything is in step."""
    world.replica.ready = False
    status = await (await world.get("/v1/status")).json()
    assert (status["in_step"], status["replica"]["ready"]) == (False, False)


async def test_live(world: World) -> None:
    """A process that gets on is alive, also while NATS is away and the replica restores: a restart would help nobody."""
    world.publisher.state = DoorState.AWAY
    world.replica.ready = False
    assert (await world.get("/livez", by=None)).status == 200


@pytest.mark.parametrize("stalled", ["replica", "event_loop", "publisher"])
async def test_not_live(world: World, stalled: str) -> None:
    """What stands still, or can never get on, is told by name with a 503."""
    if stalled == "replica":
        world.replica.polled_at_s = time.monotonic() - 31
    elif stalled == "event_loop":
        world.context.beat.at_s = time.monotonic() - 31
    else:
        world.publisher.state = DoorState.CLOSED
    response = await world.get("/livez", by=None)
    checks = (await response.json())["checks"]
    assert (response.status, [name for name, check in checks.items() if check != "ok"]) == (503, [stalled])


async def test_ready(world: World) -> None:
    """Ready means caught up; before that 503 tells how far each partition is."""
    assert (await world.get("/readyz", by=None)).status == 200
    world.replica.ready, world.replica.behind = False, 50
    response = await world.get("/readyz", by=None)
    restore = (await response.json())["restore"]
    assert (response.status, restore["remaining"], restore["partitions"][0]) == (
        503,
        200,
        {"partition": 0, "applied": 100, "end": 150},
    )


async def test_ready_verbose(world: World) -> None:
    """?verbose gives a line per check."""
    world.control.ready = False
    response = await world.get("/readyz?verbose", by=None)
    lines = (await response.text()).splitlines()
    assert (response.status, lines[0], lines[-1]) == (503, "[+]replica ok", "readyz check failed")
    assert lines[1].startswith("[-]control ")


def test_restore_eta() -> None:
    """The time to go follows from the rate of the last seconds; without one there is none."""
    rate = RestoreRate()
    assert rate.eta_s(0) == 0.0
    assert rate.eta_s(10) is None
    rate.sample(100.0, 0)
    assert rate.eta_s(10) is None
    rate.sample(105.0, 1000)
    assert rate.eta_s(400) == 2.0
    rate.sample(200.0, 1000)
    assert rate.eta_s(400) is None


async def test_metrics(world: World) -> None:
    """Out-of-step pairs and their oldest age are there for each component."""
    world.artifact("chart/m", c28=behind(int(time.time() * 1000) - 60_000))
    text = await (await world.get("/metrics", by=None)).text()
    assert 'syncmaster_out_of_step_pairs{component="c28",state="behind"} 1.0' in text
    oldest = next(line for line in text.splitlines() if line.startswith('syncmaster_out_of_step_oldest_seconds{component="c28"}'))
    assert 59 < float(oldest.split()[1]) < 90


async def test_page(world: World) -> None:
    """The page is complete as it is served, and escapes what producers and components sent."""
    world.artifact("chart/<script>alert(1)</script>", c20=failed(last_error="<img src=x onerror=alert(2)>"))
    response = await world.get("/")
    text = await response.text()
    assert (response.status, response.content_type) == (200, "text/html")
    assert "1 pair is out of step" in text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    nonce = response.headers["Content-Security-Policy"].partition("'nonce-")[2].partition("'")[0]
    assert text.count(f'nonce="{nonce}"') == 2
    assert "http://" not in text.replace("http://127.0.0.1:1/events", "")  # nothing from elsewhere; that one is c20's target


async def test_page_without_a_session(world: World) -> None:
    """A person with a browser gets the login form, a tool gets a problem; both are 401."""
    page = await world.get("/", by=None, headers={"Accept": "text/html"})
    assert (page.status, 'action="/login"' in await page.text()) == (401, True)
    tool = await world.get("/", by=None)
    assert (tool.status, tool.content_type) == (401, "application/problem+json")


async def test_page_while_restoring(world: World) -> None:
    """While restoring, the page says so instead of showing numbers as final."""
    world.replica.ready, world.replica.behind = False, 50
    text = await (await world.get("/")).text()
    assert "Restoring" in text
    assert "Everything is in step" not in text


def test_openapi_is_valid() -> None:
    """The description is valid OpenAPI 3.1."""
    document = json.loads(build_openapi(REGISTRIES))
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


async def test_openapi_covers_every_route(world: World) -> None:
    """Every route is described, with a summary, and nothing is described that is no route."""
    document = await (await world.get("/openapi.json")).json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = {
        (route.method, route.resource.canonical)
        for route in world.client.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert described == routes
    for methods in document["paths"].values():
        assert all(operation["summary"].endswith(".") or operation["summary"] for operation in methods.values())


async def test_openapi_tells_the_statuses(world: World) -> None:
    """What an operation answers in these tests is among the statuses that are described."""
    document = await (await world.get("/openapi.json")).json()
    assert set(document["paths"]["/v1/events"]["post"]["responses"]) == {
        "202",
        "400",
        "401",
        "403",
        "408",
        "413",
        "415",
        "422",
        "429",
        "503",
    }
    assert set(document["paths"]["/v1/artifacts/{key}"]["get"]["responses"]) == {"200", "400", "401", "403", "404", "503", "504"}
    assert document["paths"]["/livez"]["get"]["security"] == []
