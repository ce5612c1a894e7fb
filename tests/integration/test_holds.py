"""A hold under load, on two workers, through everything: no attempt begins a second after the 202, and nothing is lost or out of order."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.cli.api import Api
from gateway.local.kafka import Kafka
from tables.audit_record import Outcome
from tests.checkers import check_everything, check_order_at_component
from tests.harness import Cluster, Sent, eventually
from tests.loads import CHARTS, chart, message, versions_of
from tests.readings import Arrived

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

CHARTS_COUNT, VERSIONS, PER_S = 20, 60, 80.0
EVERY_VERSION = {f"chart/chart-{number}": [f"1.{version}.0" for version in range(VERSIONS)] for number in range(CHARTS_COUNT)}


class Begun(NamedTuple):
    at_s: float
    update: Arrived


class Recorder:
    """A component that keeps when each attempt began to arrive. In threads of its own, so that the test cannot hold it up."""

    def __init__(self) -> None:
        self.begun: list[Begun] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at_s, header = time.time(), self.headers
                artifact, generation, version = (header[f"ce-sm{name}"] for name in ("artifact", "generation", "version"))
                recorder.begun.append(Begun(at_s, Arrived(artifact, int(generation), version, None, 0)))
                self.rfile.read(int(header["Content-Length"]))
                time.sleep(0.02)  # so that some are under way whenever the hold comes
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def between(self, begin_s: float, end_s: float) -> list[Begun]:
        return [begun for begun in self.begun if begin_s < begun.at_s < end_s]


@pytest.fixture
def recorder() -> Any:
    made = Recorder()
    yield made
    made.close()


def changes_for(recorder: Recorder) -> dict[str, Any]:
    return {
        "components": {
            "recorder": {"sink": {"type": "http", "url": recorder.url}, "in_flight_max": 8},
            "insight": {"sink": {"type": "log"}},
        },
        "routes": [
            {"name": f"to-{name}", "match": {"artifacts": ["chart/*"]}, "mode": "every", "to": [name]}
            for name in ("recorder", "insight")
        ],
    }


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, kafka: Kafka, topic_prefix: str, recorder: Recorder) -> AsyncIterator[Cluster]:
    changes = changes_for(recorder)
    async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix, workers=2, components=(), changes=changes) as cluster:
        yield cluster


def api_of(cluster: Cluster) -> Api:
    return Api(cluster.url("gateway"), cluster.key()["Authorization"].removeprefix("Bearer "))


async def test_everything_is_held_within_a_second_and_comes_into_step_after_the_release(
    cluster: Cluster, recorder: Recorder
) -> None:
    """One worker sleeps through the hold, the other is killed and started again under it; none begins an attempt until the release."""
    api = api_of(cluster)
    load = asyncio.create_task(cluster.publish(CHARTS, versions_of(CHARTS_COUNT, VERSIONS), per_s_max=PER_S))
    await eventually(began(recorder, 200), 60)
    steady, sleeper = cluster.workers

    sleeper.pause()
    hold = await asyncio.to_thread(api.call, "POST", "/v1/holds", {"everything": True, "reason": "test"})
    held_s = time.time()
    await asyncio.sleep(1.2)
    sleeper.resume()
    await asyncio.sleep(1.5)
    await asyncio.to_thread(steady.kill9)
    await asyncio.to_thread(steady.start)
    assert cluster.gateway is not None
    await asyncio.to_thread(cluster.gateway.stop)
    cluster.gateway.start()
    sent = await load
    await judged(cluster, sent)
    await asyncio.to_thread(cluster.wait_serving)
    assert await listed(api) == [hold]
    artifact = await asyncio.to_thread(api.call, "GET", "/v1/artifacts/chart%2Fchart-0")
    assert artifact["sync"]["recorder"]["held"] == hold

    released_s = time.time()
    await asyncio.to_thread(api.call, "POST", f"/v1/holds/{hold['id']}/release", {"reason": "mended"})
    await cluster.settled(sent)
    late = recorder.between(held_s + 1.0, released_s)
    assert not late, f"{len(late)} attempts began after the hold, the first {late[0].at_s - held_s:.2f} s after the 202"
    written = [record.timestamp / 1000 for topic in cluster.readings.sync["insight"].values() for record in topic]
    assert not [at_s for at_s in written if held_s + 1.0 < at_s < released_s]
    assert [at_s for at_s in written if at_s < held_s]
    check_order_at_component([begun.update for begun in recorder.begun])
    check_each_version_once_or_repeated(recorder)
    await check_everything(cluster, sent)
    commands = [entry.record for entry in cluster.readings.audited() if entry.record.outcome is Outcome.COMMAND]
    assert sorted(record.code for record in commands) == ["halt", "release"]


def began(recorder: Recorder, count: int) -> Any:
    async def there() -> bool:
        return len(recorder.begun) >= count

    return there


async def judged(cluster: Cluster, sent: list[Sent]) -> None:
    """Until every event has its outcome, whatever is delivered."""

    async def all_judged() -> bool:
        await cluster.readings.update()
        return sum(entry.record.outcome is Outcome.ACCEPTED for entry in cluster.readings.audited()) == len(sent)

    await eventually(all_judged, 90)


def check_each_version_once_or_repeated(recorder: Recorder) -> None:
    """First arrivals are each version of each chart, in order; a kill may repeat some."""
    first: dict[str, dict[str, None]] = {}
    for begun in recorder.begun:
        first.setdefault(begun.update.artifact, {})[begun.update.version] = None
    assert {artifact: list(versions) for artifact, versions in first.items()} == EVERY_VERSION


async def test_a_policy_halts_one_artifact_and_nobody_else(
    tmp_path: Path, kafka: Kafka, topic_prefix: str, recorder: Recorder
) -> None:
    """Its hold is made in the turn's own transaction; later versions of the artifact wait, others flow, the release lets them go."""
    policy = {"name": "same-digest", "kind": "digest_immutable", "action": "halt", "artifacts": ["chart/*"]}
    changes = changes_for(recorder) | {"policies": [policy]}
    async with Cluster(tmp_path, kafka, topic_prefix=topic_prefix, components=(), changes=changes) as cluster:
        api = api_of(cluster)
        good = [message(chart(name, "1.0.0", name)) for name in ("good", "bad")]
        sent = await cluster.publish(CHARTS, good)
        await cluster.settled(sent)
        sent += await cluster.publish(CHARTS, [message(chart("bad", "1.0.0", "another digest"))])
        await eventually(lambda: listed(api), 30)
        later = await cluster.publish(CHARTS, [message(chart(name, "2.0.0", f"{name} 2")) for name in ("good", "bad")])
        await eventually(lambda: arrived(recorder, "chart/good", "2.0.0"), 30)
        (hold,) = await listed(api)
        assert (hold["verb"], hold["artifacts"], hold["rule"], hold["principal"]) == ("halt", ["chart/bad"], "same-digest", "")
        assert [begun.update.version for begun in recorder.begun if begun.update.artifact == "chart/bad"] == ["1.0.0"]
        await asyncio.to_thread(api.call, "POST", f"/v1/holds/{hold['id']}/release", {"reason": "it was a mistake"})
        await cluster.settled(sent + later)
        assert await arrived(recorder, "chart/bad", "2.0.0")
        records = [json.loads(record.value) for topic in cluster.readings.sync["insight"].values() for record in topic]
        assert [r["version"] for r in records if r["artifact"] == "chart/bad"] == ["1.0.0", "2.0.0"]


async def listed(api: Api) -> list[Any]:
    return await asyncio.to_thread(lambda: list(api.items("/v1/holds")))


async def arrived(recorder: Recorder, artifact: str, version: str) -> bool:
    return any((begun.update.artifact, begun.update.version) == (artifact, version) for begun in recorder.begun)
