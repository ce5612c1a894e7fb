"""What docker-compose.yml needs beside itself: the committed nats.conf, and secrets that never are committed.

    python -m gateway.local.compose nats > deploy/nats/nats.conf    after a change of the topology; a test says when
    python -m gateway.local.compose secrets                         once, before `docker compose up`

The topology is `orbit.yaml`, as for the local stack; passwords in nats.conf are references to the server's environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from gateway.local.secrets import Secrets
from gateway.nats_config.credentials import from_environment, variable
from gateway.nats_config.rights import users
from gateway.nats_config.server import nats_config
from streams.config_file import load_settings
from streams.config_lint import secret_refs
from streams.settings import Settings

DIRECTORY = Path(".syncmaster/compose")
_ORBIT = Path(__file__).with_name("orbit.yaml")
_HEADER = "# Made by `python -m gateway.local.compose nats`; change the topology, not this file.\n"


def nats_conf(settings: Settings) -> str:
    """deploy/nats/nats.conf: the local stack's permissions and durability, listening to the compose network."""
    return _HEADER + nats_config(settings, from_environment(settings), host="0.0.0.0", port=4222, http_port=8222)  # noqa: S104


def write_secrets(settings: Settings, directory: Path) -> None:
    """Make what is missing: one file per secret of the settings, and `nats.env` with the passwords for the server.

    The files may be read by everybody, because the container's user is not ours; their directory may not.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    secrets = Secrets(directory / "secrets")
    for name in secret_names(settings):
        secrets.path(name).chmod(0o444)
    environment = directory / "nats.env"
    environment.touch(mode=0o600)
    environment.write_text("".join(_nats_environment(settings, secrets)))


def secret_names(settings: Settings) -> list[str]:
    return sorted({secret.file.name for _, secret in secret_refs(settings) if secret.file is not None} | {"grafana.admin"})


def _nats_environment(settings: Settings, secrets: Secrets) -> Iterator[str]:
    """The inner quotes are for nats-server, which would read `1e5…` as a number."""
    for user in users(settings):
        yield f"{variable(user)}='\"{secrets.get(f'{user}.nats')}\"'\n"


def main(arguments: list[str]) -> int:
    settings = load_settings(_ORBIT, os.environ)
    match arguments:
        case ["nats"]:
            sys.stdout.write(nats_conf(settings))
        case ["secrets"]:
            write_secrets(settings, DIRECTORY)
            print(f"secrets are in {DIRECTORY}; next: docker compose up")
        case _:
            print("usage: python -m gateway.local.compose nats | secrets", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
