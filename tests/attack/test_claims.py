"""Events that claim to be somebody else's: by header, by extension, by what the door itself would stamp, over NATS and over HTTP.

What must be true: whose an event is comes from the subject (NATS) or the key (HTTP); every other claim is dropped or is data. That
nobody else can use the subject: test_nats_door.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from nats.errors import Error

from gateway.local.nats_server import NatsServer
from streams.bridge_encode import Encoder
from streams.codec import decode_event
from streams.events import Incoming
from streams.ingress import HEADER, Ingress
from streams.nats_pull import Arrived
from streams.nats_streams import stream_config
from streams.settings import Limits, Settings
from tests.brokers import connected
from tests.events import chart_event, encode
from tests.gateways import World

LIMITS = Limits()
REPLY = b"$JS.ACK.SM_IN_c4.c.1.7.1.1795000000000000000.0"
#: What an event may say about itself, to be taken for the operator's.
CLAIMS = {
    "smprincipal": "operator",
    "smcluster": "elsewhere",
    "smingress": "SM_IN_operator 1 1 0 0 nats operator elsewhere",
}
HEADERS = {
    "sm-ingress": "SM_IN_operator 9 9 0 0 http operator elsewhere",
    "SM-Ingress": "SM_IN_operator 9 9 0 0 http operator elsewhere",
    "sm-principal": "operator",
    "sm-chain": "0" * 64,
    "ce-smprincipal": "operator",
    "ce-smingress": "SM_IN_operator 9 9 0 0 http operator elsewhere",
}


class Batch:
    def __init__(self) -> None:
        self.headers: list[list[tuple[str, bytes]]] = []

    def append(self, *, timestamp: int, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> int:
        self.headers.append(headers)
        return 1


def over_nats(event: dict[str, Any], headers: dict[str, str]) -> list[tuple[str, bytes]]:
    """The headers of the record that the bridge of c4's stream makes of it."""
    raw = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    batch = Batch()
    encoder = Encoder(stream="SM_IN_c4", incarnation=2, principal="c4", cluster="here", first=7, partitions=1, limits=LIMITS)
    encoder.encode([Arrived(REPLY, raw.encode(), encode(event))], lambda: batch)
    return batch.headers[0]


def test_over_nats_headers_say_nothing_about_whose_it_is() -> None:
    """There is one ingress header, the bridge's: stream, incarnation and principal are the stream's own."""
    headers = over_nats(chart_event("a", "1"), HEADERS)
    stamped = [value for name, value in headers if name.lower() == HEADER]
    assert len(stamped) == 1
    ingress = Ingress.decode(stamped[0])
    assert (ingress.stream, ingress.mark, ingress.principal, ingress.cluster) == ("SM_IN_c4", (2, 7, 0), "c4", "here")
    assert {name.lower() for name, _ in headers} <= {HEADER, "content-type", "ce-smprincipal", "ce-smingress"}


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_extensions_that_the_door_stamps_are_dropped(mode: str) -> None:
    """Whatever was sent under these names is not there any more when an event is judged."""
    event = chart_event("a", "1") | CLAIMS
    incoming = Incoming(encode(event))
    if mode == "binary":
        attributes = {name: str(value) for name, value in event.items() if name not in ("data", "datacontenttype")}
        incoming = Incoming(encode(event["data"]), {f"ce-{name}": value for name, value in attributes.items()})
    assert not CLAIMS.keys() & decode_event(incoming, LIMITS).extensions.keys()


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_over_http_the_key_says_whose_it_is(world: World, mode: str) -> None:
    """c24's key publishes for c24: no header goes on but CloudEvents' own, none that NATS or the bridge would obey."""
    event = chart_event("a", "1.0.0") | CLAIMS
    body, headers = encode(event), {"Content-Type": "application/cloudevents+json"}
    if mode == "binary":
        attributes = {name: str(value) for name, value in event.items() if name not in ("data", "datacontenttype")}
        body = encode(event["data"])
        headers = {"Content-Type": "application/json"} | {f"ce-{name}": value for name, value in attributes.items()}
    obeyed = {"Nats-Msg-Id": "x", "Nats-Rollup": "all", "Nats-Expected-Stream": "SM_IN_operator", "sm-door": "nats"}
    response = await world.post("/v1/events", by="c24", headers={**HEADERS, **obeyed, **headers}, data=body)
    assert response.status == 202, await response.text()
    ((principal, incoming),) = world.publisher.published
    assert principal == "c24"
    assert all(name == "content-type" or name.startswith("ce-") for name in incoming.headers)


@pytest.mark.parametrize("where", ["?principal=operator", "?as=operator"])
async def test_nobody_names_themselves_in_the_address(world: World, where: str) -> None:
    """The one who is asked for is no parameter: such a request is the key's owner's, or refused."""
    headers = {"Content-Type": "application/cloudevents+json"}
    response = await world.post(f"/v1/events{where}", by="c24", headers=headers, data=encode(chart_event("a", "1")))
    assert response.status in (202, 400)
    assert {principal for principal, _ in world.publisher.published} <= {"c24"}


async def test_a_command_is_the_callers(world: World) -> None:
    """A body cannot say who gave it; an unknown member is refused."""
    world.artifact("chart/a")
    for claim in ({"principal": "c4"}, {"remote": "1.2.3.4"}, {"rule": "x"}, {"verb": "record"}, {"id": "x"}):
        response = await world.post("/v1/sync", json={"artifact": "chart/a"} | claim)
        assert (response.status, world.log.commands) == (422, [])
    response = await world.post(
        "/v1/sync", json={"artifact": "chart/a"}, headers={"sm-principal": "c4", "X-Forwarded-For": "1.2.3.4"}
    )
    assert (response.status, world.log.commands[0][1].principal) == (202, "operator")


@pytest.mark.connected
async def test_headers_that_jetstream_obeys(fresh_nats: NatsServer, orbit_settings: Settings) -> None:
    """A principal cannot empty its own stream, make messages vanish, or have them kept elsewhere, by the headers of a publish."""
    async with (
        connected(fresh_nats, orbit_settings, "syncmaster-bridge") as bridge,
        connected(fresh_nats, orbit_settings, "c4") as c4,
    ):
        config = {name: value for name, value in stream_config(orbit_settings, "c4").items() if name != "metadata"}
        await bridge.request("$JS.API.STREAM.CREATE.SM_IN_c4", json.dumps(config).encode(), timeout=5)
        for n in range(3):
            await c4.jetstream().publish("sm.in.c4.x", b"%d" % n)
        for header in ({"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}, {"Nats-TTL": "1s"}, {"Nats-Expected-Stream": "SM_IN_c24"}):
            with pytest.raises(Error):
                await c4.jetstream().publish("sm.in.c4.x", b"trick", headers=header)
        assert (await bridge.jetstream().stream_info("SM_IN_c4")).state.messages == 3
