"""Records of [commands]: what an operator asked for, already judged by the gateway. The key is the artifact's, as everywhere.

A command about no single artifact has the key of its subject (`hold/<id>`) or of who is behind it (`gateway/<principal>`): any
partition's audit chain will do. What is in effect for everyone is in [control]: `control.py`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

CommandVerb = Literal["sync", "hold", "pause", "halt", "release", "quarantine.release", "quarantine.discard", "record"]


class Command(msgspec.Struct, omit_defaults=True, frozen=True):
    """`sync`: raise the desired generation of the artifact for `component` ("" means each routed one) and deliver again.

    `hold`, `pause`, `halt`, `release`: the hold `subject` was made or released; it is in [control], in the same transaction.
    `quarantine.release`, `quarantine.discard`: the entry `subject` of the artifact. `record`: nothing but an audit record, which tells of
    a key when `code` begins with `key.`, else of a refused login.
    """

    id: str
    verb: CommandVerb
    principal: str
    at_ms: int
    component: str = ""
    reason: str = ""
    remote: str = ""  # from where, as the gateway saw it
    subject: str = ""  # id of the hold, the quarantine entry or the key
    code: str = ""
    detail: str = ""
    rule: str = ""  # of the role binding that allowed it


class Operation(msgspec.Struct, omit_defaults=True, frozen=True):
    """Commands that were asked for together, as [control] remembers them under `operation/<id>`: who asked for what, and where they are.

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
    verb: CommandVerb = "sync"
    about: str = ""  # what was asked for, in words, where it was not a sync


def about_principal(principal: str) -> str:
    """The key of a command that is about nothing but who is behind it; "" where nobody knows."""
    return f"gateway/{principal}"
