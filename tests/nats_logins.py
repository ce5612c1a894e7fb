"""Attempts to log in at a real nats-server, by hand: with whatever is claimed, and from any address of 127/8 (as Linux has them)."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

import nkeys

from gateway.local.ports import LOOPBACK

_TIMEOUT_S = 10


def attempt(port: int, remote: str = LOOPBACK, *, seed: str = "", **claimed: Any) -> str:
    """The server's last words. `claimed` are fields of CONNECT; with `seed` the server's nonce is signed."""
    with socket.create_connection((LOOPBACK, port), _TIMEOUT_S, (remote, 0)) as connection, connection.makefile("rwb") as wire:
        info = json.loads(wire.readline().removeprefix(b"INFO "))
        signed = {"sig": _signature(seed, info["nonce"])} if seed else {}
        connect = {"verbose": False, "pedantic": False, "lang": "test", "version": "1", "protocol": 1}
        wire.write(b"CONNECT " + json.dumps(connect | claimed | signed).encode() + b"\r\nPING\r\n")
        wire.flush()
        return wire.readline().decode().strip()


def _signature(seed: str, nonce: str) -> str:
    return base64.urlsafe_b64encode(nkeys.from_seed(bytearray(seed.encode())).sign(nonce.encode())).decode().rstrip("=")
