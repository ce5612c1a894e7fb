"""Ports for servers on loopback. Which server listens where is decided by the caller."""

from __future__ import annotations

import random
import socket

from streams.errors import ConfigError

LOOPBACK = "127.0.0.1"
#: Below the range from which systems take ports for outgoing connections. A port from that range can be taken by any client while
#: its server restarts; worse, a client that reconnects to a dead loopback port of that range can be connected to itself.
_FIRST, _LAST = 20_000, 32_000
_ATTEMPTS_MAX = 200


def choose_port(preferred: int | None = None) -> int:
    """`preferred` if nobody listens there, else a free one. Raises ConfigError when none is found."""
    if preferred and is_free(preferred):
        return preferred
    for _ in range(_ATTEMPTS_MAX):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - not a secret
        if is_free(port):
            return port
    raise ConfigError(f"no free port between {_FIRST} and {_LAST} on {LOOPBACK}; stop some of what listens there")


def is_free(port: int) -> bool:
    """Whether a server can listen on this loopback port now. Connections that linger after a close do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def is_open(port: int, timeout_s: float = 0.5) -> bool:
    """Whether somebody answers on this loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout_s).close()
    except OSError:
        return False
    return True
