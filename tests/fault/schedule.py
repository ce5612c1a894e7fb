"""What goes wrong, when and for how long: a schedule from a seed, and how each fault is done to a cluster.

A schedule is a function of its seed alone; where it strikes also depends on how fast the machine is. So a failing seed makes the same
faults in the same order again, and prints them, but not the same interleaving to the instruction.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

from gateway.local.process import Child
from streams.nats_streams import LEASES
from tests.brokers import connected
from tests.fault.worker_main import POINTS
from tests.harness import Cluster

SESSION_S = 3.0
LEASE_S = 2.0
REQUEST_S = 5.0


class Step(NamedTuple):
    """After `wait_s`, do `fault` to the `which`-th of its kind, for `last_s`."""

    wait_s: float
    fault: str
    which: int
    last_s: float

    def __str__(self) -> str:
        return f"after {self.wait_s:.1f} s {self.fault} {self.which} for {self.last_s:.1f} s"


def schedule(seed: int) -> Iterator[Step]:
    """Without end. Every fault comes once in each round, in an order of its own."""
    rng = random.Random(seed)
    while True:
        for fault in rng.sample(list(FAULTS), len(FAULTS)):
            shortest, longest = FAULTS[fault][1]
            yield Step(rng.uniform(0.2, 1.5), fault, rng.randrange(6), rng.uniform(shortest, longest))


async def strike(cluster: Cluster, step: Step) -> None:
    """Do it, wait, undo it."""
    await asyncio.sleep(step.wait_s)
    await FAULTS[step.fault][0](cluster, step)


async def heal(cluster: Cluster) -> None:
    """Everything runs, nothing is told to misbehave."""
    for broker in (cluster.nats, cluster.kafka):
        if not broker.running:
            await asyncio.to_thread(broker.start)
    for child in cluster.children():
        child.resume()
        if not child.running:
            child.start()
    for number in range(len(cluster.workers)):
        order(cluster, number).unlink(missing_ok=True)
    for name in cluster.components:
        await tell(cluster, name, "ok")


# -- faults ------------------------------------------------------------------------------------------------------------------------


async def kill_worker(cluster: Cluster, step: Step) -> None:
    await kill_for(pick(cluster.workers, step), step.last_s)


async def kill_worker_in_transaction(cluster: Cluster, step: Step) -> None:
    """It dies at its next commit, at one of the points; if it has none to make, the order is taken back."""
    number = step.which % len(cluster.workers)
    order(cluster, number).write_text(POINTS[int(step.last_s * 1000) % len(POINTS)])
    await asyncio.sleep(step.last_s)
    order(cluster, number).unlink(missing_ok=True)
    start(cluster.workers[number])


async def pause_worker(cluster: Cluster, step: Step) -> None:
    await pause_for(pick(cluster.workers, step), step.last_s)


async def drop_stores(cluster: Cluster, step: Step) -> None:
    number = step.which % len(cluster.workers)
    await asyncio.to_thread(cluster.workers[number].kill9)
    shutil.rmtree(cluster.store_directory(number), ignore_errors=True)
    await asyncio.sleep(step.last_s)
    start(cluster.workers[number])


async def kill_bridge(cluster: Cluster, step: Step) -> None:
    await kill_for(pick(cluster.bridges, step), step.last_s)


async def pause_bridge(cluster: Cluster, step: Step) -> None:
    await pause_for(pick(cluster.bridges, step), step.last_s)


async def take_leases_away(cluster: Cluster, step: Step) -> None:
    """Both bridges may now believe that a stream is theirs."""
    user = cluster.settings.nats.bridge_user
    async with connected(cluster.nats, cluster.settings, user) as client:
        leases = await client.jetstream().key_value(LEASES)
        for key in await leases.keys():
            await leases.delete(key)
    await asyncio.sleep(step.last_s)


async def kill_gateway(cluster: Cluster, step: Step) -> None:
    if cluster.gateway is not None:
        await kill_for(cluster.gateway, step.last_s)


async def hang_and_kill_log(cluster: Cluster, step: Step) -> None:
    await asyncio.to_thread(cluster.kafka.pause)
    await asyncio.sleep(step.last_s)
    await asyncio.to_thread(cluster.kafka.kill9)
    await asyncio.to_thread(cluster.kafka.start)


async def restart_nats(cluster: Cluster, step: Step) -> None:
    await asyncio.to_thread(cluster.nats.kill9)
    await asyncio.sleep(step.last_s)
    await asyncio.to_thread(cluster.nats.start)


async def kill_component(cluster: Cluster, step: Step) -> None:
    await kill_for(pick(list(cluster.components.values()), step), step.last_s)


async def misbehaving_component(cluster: Cluster, step: Step) -> None:
    name = list(cluster.components)[step.which % len(cluster.components)]
    await tell(cluster, name, ("down", "slow", "reject")[int(step.last_s * 1000) % 3])
    await asyncio.sleep(step.last_s)
    await tell(cluster, name, "ok")


#: How it is done, and between what times it lasts, in seconds.
FAULTS: dict[str, tuple[Callable[[Cluster, Step], Awaitable[None]], tuple[float, float]]] = {
    "kill worker": (kill_worker, (0.0, SESSION_S * 1.5)),
    "kill in transaction of worker": (kill_worker_in_transaction, (1.0, 2.0)),
    "pause worker": (pause_worker, (SESSION_S * 1.2, SESSION_S * 2)),
    "drop stores of worker": (drop_stores, (0.0, SESSION_S)),
    "kill bridge": (kill_bridge, (0.0, LEASE_S * 1.5)),
    "pause bridge": (pause_bridge, (LEASE_S * 1.5, LEASE_S * 3)),
    "take leases away": (take_leases_away, (0.5, 1.0)),
    "kill gateway": (kill_gateway, (0.0, 1.0)),
    "hang and kill log": (hang_and_kill_log, (REQUEST_S * 1.1, REQUEST_S * 1.5)),
    "restart NATS": (restart_nats, (0.0, 3.0)),
    "kill component": (kill_component, (0.5, 3.0)),
    "misbehaving component": (misbehaving_component, (1.0, 4.0)),
}
#: Only a process that sleeps can send what it began before another took its place. A killed one sends nothing more, and one that lets
#: its partitions go waits for what is on the wire.
SENDS_LATER = frozenset({"pause worker"})


def pick(children: list[Child], step: Step) -> Child:
    return children[step.which % len(children)]


async def kill_for(child: Child, seconds: float) -> None:
    await asyncio.to_thread(child.kill9)
    await asyncio.sleep(seconds)
    start(child)


async def pause_for(child: Child, seconds: float) -> None:
    child.pause()
    await asyncio.sleep(seconds)
    child.resume()


def start(child: Child) -> None:
    if not child.running:
        child.start()


def order(cluster: Cluster, worker: int) -> Path:
    """The file that tells a worker where to die."""
    return cluster.directory / f"worker-{worker}.die-at"


async def tell(cluster: Cluster, component: str, mode: str) -> None:
    """A component that does not run yet is told as soon as it does."""
    body = json.dumps({"mode": mode}).encode()
    request = Request(f"{cluster.url(component)}/v1/fault", body, {"Content-Type": "application/json"})
    for _ in range(100):
        try:
            await asyncio.to_thread(lambda: urlopen(request, timeout=2).close())
            return
        except OSError:
            await asyncio.sleep(0.1)
