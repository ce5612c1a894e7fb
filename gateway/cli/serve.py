"""`syncmaster bridge`, `worker` and `gateway`: the three processes of an installation, against existing Kafka and NATS clusters."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from gateway.cli.process import run_until_stopped, settings_or_exit
from gateway.side_door import side_door
from streams import metrics

if TYPE_CHECKING:
    from agents.worker import SyncApp
    from streams.bridge import Bridge

log = structlog.get_logger(__name__)

#: A partition that has work and whose marker has not moved for this long does not make progress.
STALLED_AFTER_S = 60.0
#: How long the consumer's thread waits for the interpreter while the main loop has work. With Python's own 5 ms a fetch, which has to wait
#: several times, took 15 ms at the ninth decile beside a busy loop; now 3 to 7. The loop itself does not feel it.
SWITCH_S = 0.001


def bridge_command(config: Path | None, base_dir: Path | None) -> None:
    from streams.bridge import Bridge, run_bridge

    settings = settings_or_exit(config, base_dir)

    async def main(stop: asyncio.Event) -> None:
        bridge = Bridge(settings)
        health = BridgeHealth(bridge)
        relax_collector()
        async with side_door(settings.bridge.http_host, settings.bridge.http_port, live=health.stalled, ready=list):
            await run_bridge(settings, stop, bridge=bridge)

    run_until_stopped(main)


def worker_command(config: Path | None, base_dir: Path | None) -> None:
    from agents.worker import run_worker
    from streams.topic_admin import ensure_topics

    settings = settings_or_exit(config, base_dir)

    async def main(stop: asyncio.Event) -> None:
        for name in ("faust", "mode"):
            logging.getLogger(name).setLevel(logging.WARNING)
        await ensure_topics(settings)
        running: list[SyncApp] = []
        health = WorkerHealth(running)
        relax_collector()
        sys.setswitchinterval(SWITCH_S)
        watch = asyncio.create_task(health.watch())
        try:
            async with side_door(
                settings.worker.http_host, settings.worker.http_port, live=health.stalled, ready=health.restoring
            ):
                await run_worker(settings, stop, on_ready=running.append)
        finally:
            watch.cancel()

    run_until_stopped(main)


def gateway_command(config: Path | None, base_dir: Path | None) -> None:
    from gateway.server import run_gateway

    settings = settings_or_exit(config, base_dir)

    async def main(stop: asyncio.Event) -> None:
        await run_gateway(settings, stop, on_ready=lambda url: log.info("gateway", address=url))

    run_until_stopped(main)


def relax_collector() -> None:
    """A chunk makes tens of thousands of short-lived containers and no cycles; the default thresholds look at them all, again and again.

    That took 30 % of a turn. What has been imported by now lives as long as the process and need not be looked at at all.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


class BridgeHealth:
    """A stream that this process serves, that has messages waiting, and whose sequence stands still, makes no progress."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._moved: dict[str, tuple[int, float]] = {}  # principal -> (sequence, since)

    def stalled(self) -> list[str]:
        lags = {sample.labels["principal"]: sample.value for family in metrics.BRIDGE_LAG.collect() for sample in family.samples}
        return [
            f"the stream of {stream.principal} has {lags[stream.principal]:.0f} messages waiting and stands still; see its log lines"
            for stream in self._bridge.statistics().streams
            if stream.serving
            and lags.get(stream.principal)
            and self._still_s(stream.principal, stream.sequence) > STALLED_AFTER_S
        ]

    def _still_s(self, principal: str, sequence: int) -> float:
        known, since_s = self._moved.get(principal, (-1, monotonic()))
        if sequence != known:
            since_s = monotonic()
        self._moved[principal] = (sequence, since_s)
        return monotonic() - since_s


class WorkerHealth:
    """What the worker's probes say, and the gauges that only a look from outside can set."""

    def __init__(self, running: list[SyncApp]) -> None:
        self._running = running

    def stalled(self) -> list[str]:
        if not self._running:
            return []
        now = monotonic()
        return [
            f"partition {number} has work and has not moved for {now - actor.moved_at_s:.0f} s; see its log lines"
            for number, actor in self._running[0].partitions.served.items()
            if actor.has_work and now - actor.moved_at_s > STALLED_AFTER_S
        ]

    def restoring(self) -> list[str]:
        if not self._running:
            return ["the worker is starting"]
        partitions = self._running[0].partitions
        waiting = sorted(partitions.owned - partitions.served.keys())
        return [f"partition {number}: {self._progress(number)}" for number in waiting]

    def _progress(self, partition: int) -> str:
        state = self._running[0].partitions.restoring.get(partition)
        return "waiting for its turn" if state is None else f"{state.remaining} of {state.end} changelog records to restore"

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(1)
            if self._running:
                self._measure(self._running[0])

    def _measure(self, app: SyncApp) -> None:
        metrics.CONTROL_AGE.set(app.watch.age_s)
        for name, sink in app.sinks.items():
            metrics.HELD_PAIRS.labels(name).set(sink.statistics().held)
        for number, actor in app.partitions.served.items():
            age_s = monotonic() - actor.moved_at_s if actor.has_work else 0.0
            metrics.MARKER_AGE.labels(str(number)).set(age_s)
            for topic, position in actor.positions().items():
                metrics.LOG_LAG.labels(topic, str(number)).set(app.positions.lag(topic, number, position))
            metrics.TABLE_KEYS.labels(str(number)).set(actor.store.estimated_keys())
            metrics.TABLE_BYTES.labels(str(number)).set(actor.store.size_bytes())
