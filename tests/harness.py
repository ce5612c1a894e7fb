"""A whole installation for tests, as real processes: workers, bridges, a gateway, example components, a NATS of its own, a Kafka that is given.

The configuration is the Orbit topology that ships, with a test's changes merged in. What happened is read by `tests/readings.py`, judged by
`tests/checkers.py`. Every process is a `Child`: `start`, `kill9`, `pause`, `resume`, `stop`.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import yaml

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from gateway.local.ports import LOOPBACK, choose_port
from gateway.local.process import Child, stop_in_order
from gateway.local.secrets import Secrets
from streams.config_file import load_settings
from streams.producer import Acknowledged, Message, publish_all
from streams.settings import Settings
from tests.readings import Readings

#: Faults are found out in seconds here, in production in tens of them.
IMPATIENT: dict[str, Any] = {
    "kafka": {"partitions": 4, "request_timeout_s": 5.0, "session_timeout_s": 3.0, "transaction_timeout_s": 5.0},
    "bridge": {"lease_ttl_s": 2.0},
}
#: A component that reads the log, beside those of the example: [sync.insight] is written within the transactions.
WITH_LOG_READER: dict[str, Any] = {
    "components": {"insight": {"sink": {"type": "log"}}},
    "routes": [{"name": "charts-to-insight", "match": {"artifacts": ["chart/*"]}, "to": ["insight"], "newest": "semver"}],
}
#: Deadlines are for machines that have much else to do; what waits goes on as soon as it can.
READY_S = 90.0
SETTLED_S = 120.0


class Sent(msgspec.Struct, frozen=True):
    """A message that JetStream has acknowledged, and where it stands."""

    principal: str
    message: Message
    at: Acknowledged


class Cluster:
    """`async with Cluster(…) as cluster:` starts it and stops it. Processes may be killed, paused and started in between."""

    def __init__(
        self,
        directory: Path,
        kafka: Kafka,
        *,
        topic_prefix: str,
        workers: int = 1,
        bridges: int = 1,
        gateway: bool = True,
        components: Sequence[str] = ("c8-portal", "c20-chart-store"),
        changes: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        worker_command: Sequence[str] | None = None,
    ) -> None:
        """`components` that are not named here are left out of the configuration; `changes` are merged into it, lists appended."""
        self.directory = directory
        self._ports = {name: choose_port() for name in ("gateway", *components)}
        config = _configuration(components, IMPATIENT, {"kafka": {"topic_prefix": topic_prefix}}, changes or {})
        self.config = directory / "syncmaster.yaml"
        self.config.write_text(yaml.safe_dump(config, sort_keys=False))
        for name in re.findall(r"secrets/([\w.-]+)", self.config.read_text()):
            Secrets(directory / "secrets").get(name)
        self._env = dict(os.environ) | {
            "SYNCMASTER_CONFIG": str(self.config),
            "SYNCMASTER_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "SYNCMASTER__GATEWAY__PORT": str(self._ports["gateway"]),
            "SYNCMASTER__GATEWAY__DATA_DIR": str(directory / "gateway"),
            **{f"{name.upper().replace('-', '_')}_URL": self.url(name) + "/events" for name in components},
            **(env or {}),
        }
        self.nats = NatsServer(directory / "nats", self._settings())
        self._env["SYNCMASTER_NATS_URL"] = self.nats.url
        self.settings = self._settings()
        self.kafka = kafka
        self.workers = [self._worker(number, worker_command) for number in range(workers)]
        self.bridges = [self._syncmaster("bridge", f"bridge-{number}") for number in range(bridges)]
        self.gateway = self._syncmaster("gateway", "gateway") if gateway else None
        self.components = {name: self._component(name) for name in components}
        self.readings = Readings(self.settings)

    # -- processes -------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Cluster:
        try:
            await asyncio.to_thread(self.start)
            await self.readings.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(stop_in_order, [[child for child in self.children() if child.running]], 10)
        if self.nats.running:
            self.nats.kill9()
        await self.readings.aclose()

    def start(self) -> None:
        self.nats.start()
        for child in self.children():
            child.start()
        self.wait_serving()

    def children(self) -> list[Child]:
        """All but the brokers."""
        return [*self.workers, *self.bridges, *([self.gateway] if self.gateway else []), *self.components.values()]

    def wait_serving(self, timeout_s: float = READY_S) -> None:
        """Until every running worker has taken its assignment, and the gateway answers reads."""
        for worker in self.workers:
            if worker.running:
                worker.wait_until(lambda worker=worker: '"assignment taken"' in worker.output(), timeout_s)
        if self.gateway is not None and self.gateway.running:
            self.gateway.wait_until(lambda: answers(f"{self.url('gateway')}/readyz"), timeout_s)

    def url(self, name: str) -> str:
        """Of the gateway, or of an example component."""
        return f"http://{LOOPBACK}:{self._ports[name]}"

    def key(self, principal: str = "operator") -> dict[str, str]:
        """The header that a request of this principal carries."""
        return {"Authorization": f"Bearer {self.settings.principals[principal].api_keys[0].reveal()}"}

    def store_directory(self, worker: int) -> Path:
        return self.directory / f"worker-{worker}" / "stores"

    def _worker(self, number: int, command: Sequence[str] | None) -> Child:
        directory = self.directory / f"worker-{number}"
        # The second is for tests/fault/worker_main.py; nothing else looks at it.
        env = {"SYNCMASTER__WORKER__DATA_DIR": str(directory), "SYNCMASTER_FAULT_DIE_AT": f"{directory}.die-at"}
        return self._syncmaster("worker", f"worker-{number}", env, command)

    def _syncmaster(
        self, verb: str, name: str, env: Mapping[str, str] | None = None, command: Sequence[str] | None = None
    ) -> Child:
        command = command or [sys.executable, "-m", "gateway.cli.main", verb]
        return Child(name, command, self.directory / "logs", self._env | dict(env or {}))

    def _component(self, name: str) -> Child:
        options = ["--port", str(self._ports[name]), "--data", str(self.component_directory(name)), "--faults"]
        options += ["--nats", self.nats.url, "--password-file", str(self.directory / "secrets" / f"{name}.nats")]
        command = [sys.executable, "-m", f"gateway.local.components.{name.replace('-', '_')}", *options]
        return Child(name, command, self.directory / "logs", self._env)

    def component_directory(self, name: str) -> Path:
        return self.directory / "components" / name

    def _settings(self) -> Settings:
        return load_settings(self.config, self._env)

    # -- events ----------------------------------------------------------------------------------------------------------------

    async def publish(self, principal: str, messages: Iterable[Message], *, per_s_max: float = 0.0) -> list[Sent]:
        """As that principal, over NATS; returns when JetStream has acknowledged all of them, whatever happens to it meanwhile."""
        sent: list[Sent] = []
        password = self.settings.principals[principal].nats_password
        await publish_all(
            self.settings.nats,
            principal,
            password,
            messages,
            lambda message, at: sent.append(Sent(principal, message, at)),
            per_s_max=per_s_max,
        )
        return sent

    async def settled(self, sent: Sequence[Sent], timeout_s: float = SETTLED_S) -> None:
        """Until everything sent has its outcome, every command is taken, and every pair is in step."""
        try:
            await eventually(lambda: self._is_settled(sent), timeout_s, every_s=0.2)
        except TimeoutError:
            logs = "\n".join(f"--- {child.name}\n{child.tail(5)}" for child in self.children())
            raise AssertionError(
                f"not settled within {timeout_s:g} s: {self.readings.waiting(_positions(sent))}\n{logs}"
            ) from None

    async def _is_settled(self, sent: Sequence[Sent]) -> bool:
        await self.readings.update()
        return not self.readings.waiting(_positions(sent))


async def eventually(condition: Callable[[], Awaitable[Any]], timeout_s: float, *, every_s: float = 0.05) -> Any:
    """The first true value of `condition`. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not (value := await condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {timeout_s:g} s")
        await asyncio.sleep(every_s)
    return value


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1) as response:
            return response.status == 200
    except OSError:
        return False


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _positions(sent: Iterable[Sent]) -> set[tuple[str, int]]:
    return {(each.at.stream, each.at.sequence) for each in sent}


def _configuration(components: Sequence[str], *changes: Mapping[str, Any]) -> dict[str, Any]:
    config = yaml.safe_load(files("gateway.local").joinpath("orbit.yaml").read_text())
    config["policies"] = []  # those of the example would refuse much of what loads send
    for change in changes:
        _merge(config, change)
    extra = set(changes[-1].get("components", {}))
    config["components"] = {name: value for name, value in config["components"].items() if name in {*components, *extra}}
    for route in config["routes"]:
        route["to"] = [name for name in route["to"] if name in config["components"]]
    config["routes"] = [route for route in config["routes"] if route["to"]]
    return config


def _merge(target: dict[str, Any], change: Mapping[str, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, Mapping) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        elif isinstance(value, list):
            target[name] = target.get(name, []) + value
        else:
            target[name] = value
