"""Everything that `syncmaster up` runs, as child processes on loopback: which, in what order, with what settings; and stopping them again.

What it keeps is under one directory (`.syncmaster`), so a second start goes on where the first stopped. Clusters that
SYNCMASTER_KAFKA_BOOTSTRAP or SYNCMASTER_NATS_URL name are used instead of starting our own.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from pydantic import BaseModel

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from gateway.local.ports import LOOPBACK, choose_port
from gateway.local.process import Child, stop_in_order
from gateway.local.secrets import Secrets
from streams.config_file import load_settings, read_settings
from streams.errors import ConfigError, Retriable
from streams.settings import SecretRef, Settings

#: Example components and the port each would like: its updates (HTTP ones) and what it holds.
COMPONENTS = {"c8-portal": 8108, "c12-manifestor": 8112, "c20-chart-store": 8120, "c28-kustomize": 8128}
_PROCESSES = {"gateway": 8056, "worker": 8057, "bridge": 8058}
_NATS_PORT, _KAFKA_PORT = 4222, 9092
_URL_VARIABLES = {"c8-portal": "C8_PORTAL_URL", "c20-chart-store": "C20_CHART_STORE_URL"}
_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 9.0
OPERATOR = "operator"


class Stack:
    """Make it, `start` it, `watch` it now and then, `stop` it. All methods block."""

    def __init__(self, directory: Path, config: Path | None, say: Callable[[str], None]) -> None:
        self.directory = directory.absolute()
        self._say = say
        self._lock = self._take_directory()
        self._config = config or _default_config()
        self._base_dir = self.directory if config is None and not Path("syncmaster.yaml").exists() else None
        self._ports = {name: self._port(name, wish) for name, wish in (COMPONENTS | _PROCESSES).items()}
        self._env = os.environ | {
            "SYNCMASTER_CONFIG": str(self._config),
            "SYNCMASTER__GATEWAY__PORT": str(self._ports["gateway"]),
            "SYNCMASTER__WORKER__HTTP_PORT": str(self._ports["worker"]),
            "SYNCMASTER__BRIDGE__HTTP_PORT": str(self._ports["bridge"]),
            "SYNCMASTER__WORKER__DATA_DIR": str(self.directory / "worker"),
            "SYNCMASTER__GATEWAY__DATA_DIR": str(self.directory / "gateway"),
            **{variable: f"http://{LOOPBACK}:{self._ports[name]}/events" for name, variable in _URL_VARIABLES.items()},
        }
        self._make_secrets()
        self._kafka: Kafka | None = None
        self._nats: NatsServer | None = None
        self._children: dict[str, Child] = {}
        self._dead_since: dict[str, float] = {}
        self.settings = self._settings()

    # -- what others need to know ------------------------------------------------------------------------------------------------

    @property
    def gateway_url(self) -> str:
        return f"http://{LOOPBACK}:{self._ports['gateway']}"

    def side_door_url(self, name: str) -> str:
        """Of the worker or the bridge, or where an example component shows what it holds."""
        return f"http://{LOOPBACK}:{self._ports[name]}"

    @property
    def components(self) -> list[str]:
        """The example components of this configuration."""
        return [name for name in COMPONENTS if name in self.settings.components]

    def key(self, principal: str = OPERATOR) -> str:
        return self.settings.principals[principal].api_keys[0].reveal()

    def pids(self) -> dict[str, int]:
        children = dict(self._children)
        if self._kafka is not None:
            children["kafka"] = self._kafka.child
        if self._nats is not None:
            children["nats"] = self._nats.child
        return {name: child.pid for name, child in children.items() if child.running}

    def run_file(self) -> Path:
        return self.directory / "run.json"

    # -- starting ----------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when the gateway answers reads. Raises ConfigError or Retriable, which name the log to look at."""
        self._start_brokers()
        self.settings = self._settings()
        for name in self.components:
            self._start(
                name, [sys.executable, "-m", f"gateway.local.components.{name.replace('-', '_')}", *self._component_options(name)]
            )
        for name in ("worker", "bridge", "gateway"):
            self._start(name, [*_syncmaster(), name, *([] if self._base_dir is None else ["--base-dir", str(self._base_dir)])])
        self._say("waiting for the gateway")
        self._children["gateway"].wait_until(lambda: _answers(f"{self.gateway_url}/readyz"), _READY_TIMEOUT_S)
        self._children["worker"].wait_until(lambda: _answers(f"{self.side_door_url('worker')}/readyz"), _READY_TIMEOUT_S)
        self.write_run_file()

    def _start_brokers(self) -> None:
        if "SYNCMASTER_NATS_URL" not in os.environ:
            self._say("starting nats-server")
            self._nats = NatsServer(self.directory / "nats", self.settings, port=_NATS_PORT, http_port=8222)
            self._tell_port("nats-server", _NATS_PORT, self._nats.port)
            self._env |= {"SYNCMASTER_NATS_URL": self._nats.url, "SYNCMASTER__NATS__MONITOR_URL": self._nats.monitoring_url}
        if "SYNCMASTER_KAFKA_BOOTSTRAP" not in os.environ:
            self._say("starting Kafka")
            self._kafka = Kafka(self.directory / "kafka", limits=self.settings.limits, port=_KAFKA_PORT)
            self._tell_port("Kafka", _KAFKA_PORT, self._kafka.port)
            self._env["SYNCMASTER_KAFKA_BOOTSTRAP"] = self._kafka.bootstrap
            self._kafka.launch()
        if self._nats is not None:
            self._nats.start()
        if self._kafka is not None:
            self._kafka.wait_ready()

    def _component_options(self, name: str) -> list[str]:
        options = ["--port", str(self._ports[name]), "--data", str(self.directory / "components" / name)]
        principal = self.settings.principals.get(name)
        if self.settings.components[name].sink.type == "nats" and principal is not None and principal.nats_password is not None:
            options += ["--nats", self.settings.nats.url, "--user", name, "--password-file", str(principal.nats_password.file)]
        return options

    def start_feed(self, principal: str, report: Path, arguments: list[str]) -> Child:
        """A producer; it ends when everything it has is acknowledged."""
        password = self.settings.principals[principal].nats_password
        assert password is not None, "the local stack gives every principal a password"
        command = [sys.executable, "-m", "gateway.local.feed", principal, "--nats", self.settings.nats.url]
        command += ["--password-file", str(password.file), "--report", str(report), *arguments]
        return self._start(f"feed-{principal}", command)

    def _start(self, name: str, command: list[str]) -> Child:
        child = Child(name, command, self.directory / "logs", self._env)
        self._children[name] = child
        child.start()
        return child

    # -- running -----------------------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Start again what has ended by itself, a second later. Feeds end on purpose."""
        changed = False
        for name, child in self._everything():
            if child.running or name.startswith("feed-"):
                continue
            since = self._dead_since.setdefault(name, time.monotonic())
            if time.monotonic() - since >= 1.0:
                del self._dead_since[name]
                self._say(f"{name} ended with exit code {child.exit_code}; starting it again (log: {child.log})")
                child.start()
                changed = True
            child.trim_log()
        if changed:
            self.write_run_file()

    def _everything(self) -> Iterator[tuple[str, Child]]:
        if self._nats is not None:
            yield "nats", self._nats.child
        if self._kafka is not None:
            yield "kafka", self._kafka.child
        yield from list(self._children.items())

    def write_run_file(self) -> None:
        """For other tools: where everything is, and as whom to talk to it. Readable by this user only."""
        nats_url = self.settings.nats.url
        operator = self.settings.principals.get(OPERATOR)
        if operator is not None and operator.nats_password is not None:
            nats_url = nats_url.replace("nats://", f"nats://{OPERATOR}:{operator.nats_password.reveal()}@")
        content: dict[str, Any] = {
            "gateway": self.gateway_url,
            "api_key": self.key() if operator is not None and operator.api_keys else "",
            "nats": nats_url,
            "kafka": self.settings.kafka.bootstrap,
            "components": {name: self.side_door_url(name) for name in self.components},
            "pids": self.pids(),
        }
        draft = self.run_file().with_suffix(".tmp")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file, indent=2)
        draft.replace(self.run_file())

    # -- stopping ----------------------------------------------------------------------------------------------------------------

    def stop(self) -> bool:
        """Everything, in order, within 10 s. Whether nothing had to be killed."""
        children = self._children
        ours = [children[name] for name in ("gateway", "bridge", "worker") if name in children]
        brokers = [broker.child for broker in (self._nats, self._kafka) if broker is not None and broker.child is not None]
        rest = [child for child in children.values() if child not in ours]
        gentle = stop_in_order([[*ours, *rest], brokers], _STOP_TIMEOUT_S)
        self.run_file().unlink(missing_ok=True)
        self._lock.close()
        return gentle

    def _port(self, name: str, wish: int) -> int:
        port = choose_port(wish)
        self._tell_port(name, wish, port)
        return port

    def _tell_port(self, name: str, wish: int, port: int) -> None:
        if port != wish:
            self._say(f"port {wish} is taken; {name} listens on {port}")

    # -- configuration -----------------------------------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        return load_settings(self._config, self._env, base_dir=self._base_dir)

    def _make_secrets(self) -> None:
        """The example's secrets are made on first use; those of a configuration of one's own have to be there."""
        if self._base_dir is None:
            return
        secrets = Secrets(self._base_dir / "secrets")
        settings, _ = read_settings(self._config, self._env, base_dir=self._base_dir)
        for ref in _secret_refs(settings):
            if ref.file is not None and ref.file.parent == self._base_dir / "secrets":
                secrets.get(ref.file.name)

    def _take_directory(self) -> Any:
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = (self.directory / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another `syncmaster up` runs on {self.directory}; stop that one, or start in another directory"
            ) from None
        return lock


def _default_config() -> Path:
    own = Path("syncmaster.yaml")
    return own.absolute() if own.exists() else Path(str(files("gateway.local").joinpath("orbit.yaml")))


def _secret_refs(node: object) -> Iterator[SecretRef]:
    if isinstance(node, SecretRef):
        yield node
    elif isinstance(node, BaseModel):
        for _, value in node:
            yield from _secret_refs(value)
    elif isinstance(node, dict):
        for value in node.values():
            yield from _secret_refs(value)
    elif isinstance(node, tuple):
        for value in node:
            yield from _secret_refs(value)


def _syncmaster() -> list[str]:
    """The same command that an image or a unit file starts, from this environment."""
    beside = Path(sys.executable).with_name("syncmaster")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "gateway.cli.main"]


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1) as response:  # noqa: S310 - our own loopback address
            return int(response.status) == 200
    except OSError:
        return False


def wait_all(children: list[Child], timeout_s: float, watch: Callable[[], None]) -> None:
    """Until all have ended well. Raises Retriable with the end of the log of one that has not."""
    deadline = time.monotonic() + timeout_s
    while any(child.running for child in children):
        if time.monotonic() > deadline:
            raise Retriable(f"not all events were published after {timeout_s:.0f} s")
        watch()
        time.sleep(0.1)
    for child in children:
        if child.exit_code:
            raise Retriable(
                f"{child.name} ended with exit code {child.exit_code}; its log {child.log} ends with:\n{child.tail()}"
            )
