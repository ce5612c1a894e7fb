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
