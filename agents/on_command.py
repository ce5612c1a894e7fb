"""What an operator's command changes. The gateway has judged whether it is allowed; the outcome is audited here, in its artifact's chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from agents import sync_state
from agents.log_outputs import settle_logs
from agents.newest import newest
from agents.release import discard, release
from agents.routing import Target
from agents.turn_state import TurnState
from streams.commands import Command, CommandVerb, about_principal
from tables.audit_record import Outcome as Word
from tables.model import Head

log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(Command).decode


def take_command(state: TurnState, record: Any) -> None:
    state.marker.commands = record.offset + 1
    key, audit_id = record.key.decode(errors="replace"), f"commands-{state.partition}-{record.offset}"
    try:
        command = _decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        _not_understood(state, record, key, audit_id, exc)
        return
    state.commands[command.verb] += 1
    _HANDLERS[command.verb](state, command, key, audit_id)


def _not_understood(state: TurnState, record: Any, key: str, audit_id: str, why: Exception) -> None:
    """Of a gateway that is newer than this worker, or somebody else's. It costs only itself; its bytes stay in [commands]."""
    digest = f"sha256:{hashlib.sha256(record.value or b'').hexdigest()}"
    log.error("a command is not understood; is a gateway newer than this worker? Ask for it again after the upgrade", at=audit_id)
    state.audit.add(audit_id, Word.COMMAND, key, code="command.not_understood", detail=str(why)[:200], digest=digest)


def _sync(state: TurnState, command: Command, artifact: str, audit_id: str) -> None:
    head = state.overlay.head(artifact)
    targets = _commanded(state, artifact, command)
    if head is not None and targets:
        _desire_again(state, artifact, head, targets, command)
    state.audit.add(
        audit_id,
        Word.COMMAND,
        artifact,
        principal=command.principal,
        component=command.component,
        code=command.verb if head is not None and targets else f"{command.verb}.nothing_to_do",
        detail=command.reason,
        rule=command.rule,
        generation=0 if head is None else head.generation + bool(targets),
        command=command.id,
        remote=command.remote,
    )


def _record(state: TurnState, command: Command, key: str, audit_id: str) -> None:
    """It has taken effect elsewhere, or is no more than news: it is audited, in the chain of whichever partition its key belongs to."""
    state.audit.add(
        audit_id,
        _word(command),
        "" if key == about_principal(command.principal) else key,
        principal=command.principal,
        component=command.component,
        code=command.code or command.verb,
        detail="; ".join(filter(None, (command.subject, command.detail, command.reason))),
        rule=command.rule,
        command=command.id,
        remote=command.remote,
    )


def _word(command: Command) -> Word:
    if command.verb != "record":
        return Word.COMMAND
    return Word.KEY if command.code.startswith("key.") else Word.LOGIN_REFUSED


_HANDLERS: dict[CommandVerb, Callable[[TurnState, Command, str, str], None]] = {
    "sync": _sync,
    "quarantine.release": release,
    "quarantine.discard": discard,
    "hold": _record,
    "pause": _record,
    "halt": _record,
    "release": _record,
    "record": _record,
}


def _commanded(state: TurnState, artifact: str, command: Command) -> list[Target]:
    return [t for t in state.rules.routing.targets(artifact) if command.component in {"", t.component}]


def _desire_again(state: TurnState, artifact: str, head: Head, targets: list[Target], command: Command) -> None:
    generation, syncs = head.generation + 1, dict(head.sync)
    for target in targets:
        before = syncs.get(target.component)
        syncs[target.component] = sync_state.desire(
            before,
            generation=generation,
            version=before.version if before is not None else newest(head, target.newest),
            now_ms=state.now_ms,
            mode=target.mode,
            command=command.id,
        )
    settle_logs(state, artifact, replace(head, generation=generation, sync=syncs), targets)
