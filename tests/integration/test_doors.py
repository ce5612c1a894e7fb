"""Garbage and forgery at both doors of a whole installation: a clear refusal each, and everybody else's events still flow."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.local.kafka import Kafka
from streams.events import Incoming
from streams.producer import Message
from tests.brokers import connected
from tests.checkers import check_chain_unbroken, check_no_double_count, check_no_loss
from tests.harness import Cluster, Sent
from tests.loads import CHARTS, OPERATOR, chart, encode, versions_of
from tests.readings import JUDGED, arrivals

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

IMAGES = "c4-image-build"
PORTAL = "c8-portal"
READER = "insighthub"
TWO_MB = b"x" * (2 << 20)
#: What a producer may get wrong -> the code that it is told.
GARBAGE: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"\x00\xffnot json", "json.invalid"),
    "cut off": (b'{"specversion":"1.0","id":"1"', "json.invalid"),
    "wrong type": (encode(chart("a", "1.0.0", "x") | {"id": 5}), "attribute.invalid"),
    "no version of CloudEvents": (encode(chart("a", "1.0.0", "x") | {"specversion": "9"}), "specversion.unsupported"),
    "unknown type": (encode(chart("a", "1.0.0", "x") | {"type": "com.example.surprise"}), "type.unknown"),
    "too large": (encode(chart("a", "1.0.0", "x") | {"pad": "x" * 500_000}), "event.too_large"),
}


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, kafka: Kafka, topic_prefix: str) -> AsyncIterator[Cluster]:
    async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix) as cluster:
        yield cluster


async def test_garbage_and_forgery_at_both_doors_are_refused_clearly_and_harm_nobody(cluster: Cluster) -> None:
    """Over NATS: quarantine with the original bytes, or a permissions violation; over HTTP: a problem; good events in between arrive."""
    sent = await cluster.publish(CHARTS, versions_of(5, 4, prefix="before"))
    bad = [Message("garbage", Incoming(body)) for body, _ in GARBAGE.values()]
    quarantined = await cluster.publish(CHARTS, bad)
    await two_megabytes_end_only_the_connection_that_sent_them(cluster)
    await nobody_publishes_under_another_ones_prefix(cluster)
    forged = await cluster.publish(IMAGES, [Message("chart", forged_chart("over-nats"))])
    async with aiohttp.ClientSession(cluster.url("gateway")) as session:
        await garbage_over_http_is_a_problem(cluster, session)
        await who_may_not_publish_is_told_so_over_http(cluster, session)
        forged_token = await forged_over_http(cluster, session)
        sent += await cluster.publish(CHARTS, versions_of(5, 4, prefix="after"))
        await cluster.settled([*sent, *quarantined, *forged])
        await every_refusal_can_be_looked_up(cluster, session, quarantined, forged_token)
    check_no_loss([*sent, *quarantined, *forged], cluster.readings)
    check_no_double_count(cluster.readings)
    check_chain_unbroken(cluster.readings)
    assert all(child.running for child in cluster.children())
    held = {(update.artifact, update.version) for update in arrivals(cluster.component_directory("c20-chart-store"))}
    good = {
        (f"chart/{when}-{number}", f"1.{version}.0")
        for when in ("before", "after")
        for number in range(5)
        for version in range(4)
    }
    assert held == good


# -- over NATS ---------------------------------------------------------------------------------------------------------------------


async def two_megabytes_end_only_the_connection_that_sent_them(cluster: Cluster) -> None:
    async with connected(cluster.nats, cluster.settings, CHARTS, allow_reconnect=False) as client:
        client._max_payload = 4 << 20  # a client that does not know, or does not care
        await client.publish(f"sm.in.{CHARTS}.large", TWO_MB)
        with pytest.raises(Exception, match=r"(?i)closed|timeout|payload|eof"):
            await client.flush(5)


async def nobody_publishes_under_another_ones_prefix(cluster: Cluster) -> None:
    async with connected(cluster.nats, cluster.settings, IMAGES) as client:
        await client.publish(f"sm.in.{CHARTS}.forged", encode(chart("stolen", "1.0.0", "stolen")))
        await client.flush()
        await said(client)
        assert "permissions violation for publish" in str(client.complaints[0])


async def said(client: Any) -> None:
    """Until the server has complained: after a second flush it has."""
    for _ in range(50):
        if client.complaints:
            return
        await client.flush()


def forged_chart(name: str) -> Incoming:
    """An image builder's event about a chart, which claims in every way to be the chart generator's."""
    claims = {"smprincipal": CHARTS, "smcluster": "elsewhere", "smingress": "1 2 3"}
    headers = {"sm-ingress": f"SM_IN_{CHARTS} 1 1 0 0 nats {CHARTS} elsewhere", "sm-principal": CHARTS}
    return Incoming(encode(chart(name, "1.0.0", name) | claims), headers)


# -- over HTTP ---------------------------------------------------------------------------------------------------------------------


async def garbage_over_http_is_a_problem(cluster: Cluster, session: aiohttp.ClientSession) -> None:
    for name, (body, code) in GARBAGE.items():
        status, problem = await post(cluster, session, OPERATOR, body)
        assert (problem["code"], problem["status"]) == (code, status), name
        assert status in {400, 413, 422}, name
    status, problem = await post(cluster, session, OPERATOR, TWO_MB)
    assert (status, problem["status"]) == (413, 413)


async def who_may_not_publish_is_told_so_over_http(cluster: Cluster, session: aiohttp.ClientSession) -> None:
    body = encode(chart("stolen", "1.0.0", "stolen"))
    assert (await post(cluster, session, READER, body))[0] == 403  # known, but without the verb
    assert (await post(cluster, session, None, body))[0] == 401
    assert (await post(cluster, session, "guess", body))[0] == 401


async def forged_over_http(cluster: Cluster, session: aiohttp.ClientSession) -> str:
    status, taken = await post(cluster, session, PORTAL, forged_chart("over-http").body)
    assert status == 202  # well formed; whether it is allowed is judged where the state is
    token: str = taken["items"][0]["token"]
    return token


async def post(
    cluster: Cluster, session: aiohttp.ClientSession, principal: str | None, body: bytes
) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/cloudevents+json"}
    if principal is not None:
        headers |= (
            cluster.key(principal) if principal in cluster.settings.principals else {"Authorization": f"Bearer {principal}"}
        )
    async with session.post("/v1/events", data=io.BytesIO(body), headers=headers) as response:
        expected = "application/json" if response.status < 400 else "application/problem+json"
        assert response.content_type == expected
        return response.status, await response.json(content_type=None)


async def get(cluster: Cluster, session: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with session.get(path, headers=cluster.key()) as response:
        assert response.status == 200, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


# -- afterwards --------------------------------------------------------------------------------------------------------------------


async def every_refusal_can_be_looked_up(
    cluster: Cluster, session: aiohttp.ClientSession, quarantined: list[Sent], forged_token: str
) -> None:
    """The gateway shows what was quarantined, byte for byte and why; the forged event is judged as the one who sent it."""
    await get(cluster, session, f"/v1/status?min_token={forged_token}")
    items = (await get(cluster, session, "/v1/quarantine?limit=100"))["items"]
    records = [e.record for e in cluster.readings.audited() if e.record.outcome in JUDGED]
    assert sorted(record.code for record in records if record.outcome == "quarantined") == sorted(
        code for _, code in GARBAGE.values()
    )
    assert len(items) == len(quarantined) == len(GARBAGE)
    raw = cluster.readings.tables["quarantine"].values()
    bodies = {json.loads(value).get("body_base64") for table in raw for value in table.values()}
    assert {base64.b64encode(body).decode() for body, _ in GARBAGE.values()} <= bodies
    for artifact, sender in (("chart/over-nats", IMAGES), ("chart/over-http", PORTAL)):
        (record,) = [record for record in records if record.artifact == artifact]
        assert (record.outcome, record.principal, record.code) == ("refused", sender, "publish.not_allowed")
    assert not [record for record in records if record.artifact == "chart/stolen"]
