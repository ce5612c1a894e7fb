"""Everything of a running installation that somebody could read, and a search through it for secrets."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from gateway.local.ports import LOOPBACK
from streams.log_reader import TP, LogReader
from tests.harness import Cluster

#: A secret that was cut is one all the same.
FRAGMENT_CHARS = 14


class Outputs:
    """What anybody could read, by where it was read."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}

    def add(self, where: str, content: bytes | str) -> None:
        self.found[where] = self.found.get(where, b"") + (content.encode() if isinstance(content, str) else content)

    def holding(self, hidden: Mapping[str, str]) -> list[str]:
        """Names of secrets and of the places where they stand."""
        return [
            f"{name} in {where}"
            for name, secret in hidden.items()
            for form in forms(secret)
            for where, content in self.found.items()
            if form in content
        ]


def forms(secret: str) -> Iterator[bytes]:
    """As it is, cut at either end, and as it is carried: in URLs, in base64, in hex."""
    raw = secret.encode()
    yield from (
        raw[:FRAGMENT_CHARS],
        raw[-FRAGMENT_CHARS:],
        quote(secret, safe="").encode(),
        base64.b64encode(raw),
        raw.hex().encode(),
    )


async def tell(outputs: Outputs, request: Any) -> None:
    """The answer with its headers; but for what only repeats the question to whoever asked."""
    async with request as response:
        body = await response.read()
        outputs.add(f"{response.method} {response.url.path}", body + repr(response.headers).encode())


async def read_everything(cluster: Cluster, http: aiohttp.ClientSession, outputs: Outputs) -> None:
    """Every path that can be read, as somebody who may read everything; metrics and probes of each process."""
    async with http.get("/openapi.json", headers=cluster.key()) as response:
        paths = (await response.json())["paths"]
    for path in [path for path, methods in paths.items() if "get" in methods]:
        filled = re.sub(r"{\w+}", lambda found: quote("chart/chart-1" if found[0] != "{name}" else "c8-portal", safe=""), path)
        await tell(outputs, http.get(aiohttp.client.URL(filled, encoded=True), headers=cluster.key()))
    for name in ("WORKER", "BRIDGE"):
        for path in ("metrics", "readyz", "livez"):
            await tell(outputs, http.get(f"http://{LOOPBACK}:{cluster._env[f'SYNCMASTER__{name}__HTTP_PORT']}/{path}"))


async def collect(cluster: Cluster, outputs: Outputs) -> None:
    """Logs, stores and other files, topics, command lines. Not the places of secrets themselves, which only this user may read."""
    places = [cluster.directory / "secrets", *cluster.directory.glob("nats/*.conf")]
    for place in places:
        assert place.stat().st_mode & 0o077 == 0, f"others may read {place}"
    written = {cluster.config, cluster.directory / "other.key"}
    for file in cluster.directory.rglob("*"):
        if file.is_file() and file not in written and not any(file.is_relative_to(place) for place in places):
            outputs.add(str(file.relative_to(cluster.directory)), file.read_bytes())
    for child in [*cluster.children(), cluster.nats.child]:
        outputs.add(f"command line of {child.name}", Path(f"/proc/{child.pid}/cmdline").read_bytes())
    outputs.add("kafka.log", cluster.kafka.child.log.read_bytes())
    await collect_topics(cluster, outputs)


async def collect_topics(cluster: Cluster, outputs: Outputs) -> None:
    topics, partitions = cluster.readings.topics, cluster.settings.kafka.partitions
    names = {"audit": topics.audit, "checkpoints": topics.audit_checkpoints, "commands": topics.commands, "events": topics.events}
    tps = {TP(topic, p): name for name, topic in names.items() for p in range(partitions)} | {TP(topics.control, 0): "control"}
    tps |= {TP(topic, p): "changelogs" for topic in topics.changelogs for p in range(partitions)}
    reader = LogReader(cluster.kafka.bootstrap)
    await reader.start()
    try:
        ends = await reader.ends(tps)
        reader.assign(await reader.beginnings(tps))
        while any([await reader.position(tp) < end for tp, end in ends.items()]):
            for tp, fetched in (await reader.poll(0.2)).items():
                for record in fetched.records:
                    outputs.add(
                        f"topic {tps[tp]}", b"\n".join([record.key or b"", record.value or b"", repr(record.headers).encode()])
                    )
    finally:
        await reader.aclose()
