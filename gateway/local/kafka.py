"""Apache Kafka as a child process: KRaft, one node that is broker and controller, on loopback, with bounded memory.

Everything that it keeps is under one directory: a later start on the same directory goes on, on other ports if need be.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

from gateway.local.download import report_to
from gateway.local.jars import Lock, cache_dir, ensure_jars
from gateway.local.java import Java, find_java
from gateway.local.maven import fetch_jar
from gateway.local.ports import LOOPBACK, choose_port, is_open
from gateway.local.process import Child
from streams.errors import Retriable
from streams.settings import Limits

_STARTED = "Kafka Server started"
_LOGGING = """\
rootLogger = INFO, out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %-5p %m (%c{1})%n
"""


class Kafka:
    """`start` and `stop` may follow each other; the ports stay the same. All methods block."""

    def __init__(
        self,
        directory: Path,
        *,
        limits: Limits | None = None,
        port: int | None = None,
        heap_mb: int = 512,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        """`port` is a wish. `overrides` are broker settings that go before `server_properties`."""
        self.port = choose_port(port)
        self._controller_port = choose_port()
        self._directory = directory.absolute()
        self._limits = limits or Limits()
        self._heap_mb = heap_mb
        self._overrides = dict(overrides or {})
        self._child: Child | None = None

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def child(self) -> Child:
        """The process: pid, running, log, pause, resume, kill9."""
        assert self._child is not None, "Kafka was never started"
        return self._child

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def start(self, timeout_s: float = 60) -> None:
        """Fetches what is missing, formats a new directory, starts, and waits until clients are served. Raises ConfigError, Retriable."""
        self.launch()
        self.wait_ready(timeout_s)

    def launch(self) -> None:
        """`start` without the waiting."""
        if self._child is None:
            self._child = self._prepare()
        self._child.start()

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Returns when clients are served. Raises Retriable, with the end of the broker's log."""
        self.child.wait_until(lambda: is_open(self.port) and _STARTED in self.child.output(), timeout_s)

    def stop(self, timeout_s: float = 10) -> bool:
        """Whether it ended by itself within that time; otherwise it was killed."""
        return self.child.stop(timeout_s)

    def kill9(self) -> None:
        self.child.kill9()

    def pause(self) -> None:
        self.child.pause()

    def resume(self) -> None:
        self.child.resume()

    def _prepare(self) -> Child:
        lock = Lock.load()
        classpath = ensure_jars(lock, cache_dir(lock), fetch_jar, report_to(sys.stderr))
        java = find_java()
        config = self._write_config()
        self._format_once(java, classpath, config)
        command = java_command(java, classpath, self._directory, self._heap_mb)
        return Child("kafka", [*command, "kafka.Kafka", config], self._directory / "logs")

    def _write_config(self) -> Path:
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "log4j2.properties").write_text(_LOGGING)
        properties = server_properties(self._directory / "data", self.port, self._controller_port, self._limits) | self._overrides
        config = self._directory / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        return config

    def _format_once(self, java: Java, classpath: list[Path], config: Path) -> None:
        if (self._directory / "data" / "meta.properties").exists():
            return
        arguments = ["kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", os.fspath(config), "--ignore-formatted"]
        command = [*java_command(java, classpath, self._directory, heap_mb=128), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise Retriable(f"Kafka could not format {self._directory / 'data'}:\n{done.stdout}{done.stderr}")


def java_command(java: Java, classpath: list[Path], directory: Path, heap_mb: int) -> list[str]:
    """Java up to the class that is to run."""
    return [
        os.fspath(java.executable),
        f"-Xms{min(heap_mb, 128)}m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC" if heap_mb <= 512 else "-XX:+UseG1GC",  # below that G1's own threads cost more than its pauses save
        # The second compiler takes a core for a minute; a broker on a developer's machine, or in a test, rarely lives so long.
        *(["-XX:TieredStopAtLevel=1"] if heap_mb <= 512 else []),
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={directory / 'java-crash.txt'}",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={directory / 'log4j2.properties'}",
        "-cp",
        os.pathsep.join(map(os.fspath, classpath)),
    ]


def server_properties(data: Path, port: int, controller_port: int, limits: Limits) -> dict[str, str]:
    """The broker's settings: what one node needs to be a whole cluster, and small bounds for small machines."""
    largest = str(limits.log_message_bytes_max)
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": os.fspath(data),
        "auto.create.topics.enable": "false",
        "message.max.bytes": largest,
        "replica.fetch.max.bytes": largest,
        # One node: no replicas to wait for.
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # One worker: no others to wait for.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "transaction.max.timeout.ms": "900000",
        # After a kill the controller, in the same process, admits the broker again only when its former session has ended.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "offsets.retention.minutes": "43200",
        # The cleaner's buffer is taken from the heap at once; its default is a quarter of ours.
        "log.cleaner.dedupe.buffer.size": str(16 << 20),
        "log.cleaner.threads": "1",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "2",
    }


def new_cluster_id() -> str:
    """22 characters of URL-safe base64, as Kafka makes them: never with a dash in front, which its tools take for an option."""
    return "S" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
