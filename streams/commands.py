"""Records of [commands]: what an operator asked for, already judged by the gateway. The key is the artifact's, as everywhere."""

from __future__ import annotations

from typing import Literal

import msgspec


class Command(msgspec.Struct, omit_defaults=True, frozen=True):
    """`sync`: raise the desired generation of the artifact for `component` ("" means each routed one) and deliver again."""

    id: str
    verb: Literal["sync"]
    principal: str
    at_ms: int
    component: str = ""
    reason: str = ""


class Operation(msgspec.Struct, omit_defaults=True, frozen=True):
    """One manual sync, as [control] remembers it under `operation/<id>`: who asked for what, and where its commands are.

    It is applied once the marker of every partition in `offsets` has `commands` at or beyond the offset given there.
    """

    id: str
    principal: str
    at_ms: int
    artifacts: int  # how many commands
    reason: str = ""
    artifact: str = ""  # what was asked for; empty means any
    component: str = ""
    state: str = ""
    offsets: dict[int, int] = {}  # partition -> offset behind its last command


OPERATION_PREFIX = b"operation/"


def operation_key(operation_id: str) -> bytes:
    return OPERATION_PREFIX + operation_id.encode()
