"""Messages that were set aside: listed, shown, released, discarded. What a command changes, the artifact's owner decides: `agents/release.py`."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from agents.authz import May, Resource
from agents.quarantine import names_of
from gateway import cursors
from gateway.caller import Caller
from gateway.context import Context
from gateway.quarantine_models import (
    FilterRequest,
    QuarantinedMessage,
    QuarantineOperation,
    QuarantinePage,
    QuarantineQuery,
)
from gateway.tokens import COMMANDS, Token
from gateway.views import QuarantineView, rfc3339
from streams.commands import Command, CommandVerb, Operation
from streams.errors import Malformed
from streams.events import Incoming
from streams.settings import glob
from tables.model import Kept, Quarantined
from tables.queries import QuarantineFilter, QuarantineRow

Verb = Literal["release", "discard"]
_VERBS: dict[Verb, CommandVerb] = {"release": "quarantine.release", "discard": "quarantine.discard"}
#: One operation is at most so many commands; whoever wants more narrows the filter and asks twice.
COMMANDS_MAX = 100_000
_APPEND_MAX = 1000
_PAGE = 500  # entries between two of which the event loop gets its turn


def list_quarantine(context: Context, query: QuarantineQuery, may_read: May) -> QuarantinePage:
    """What may be read, by artifact key; of one artifact the malformed first, then what is parked, in the order in which it waits."""
    context.require_ready()
    wanted = QuarantineFilter(
        prefix=query.prefix or query.artifacts.partition("*")[0],
        key=None if query.artifacts == "*" else glob(query.artifacts),
        principal=query.principal,
        reason=query.reason,
        rule=query.rule,
        kept=None if query.kept is None else Kept(query.kept),
        since_ms=_ms(query.since),
        until_ms=_ms(query.until),
    )
    page = context.queries.quarantine(
        wanted,
        after=cursors.decode(query.cursor),
        limit=query.limit,
        visible=lambda key: may_read(Resource(artifact=key)),
    )
    items = [entry_view(row) for row in page.rows]
    return QuarantinePage(items=items, next_cursor=cursors.encode(page.after))


def get_quarantined(context: Context, artifact: str, ident: str) -> QuarantinedMessage:
    message = _known(context, artifact, ident)
    body, lot = base64.b64decode(message.body_base64), context.queries.lot(artifact)
    names = names_of(Incoming(body, message.headers))
    original = {
        "position": None if message.kept is Kept.MALFORMED else context.queries.waiting_before(artifact, ident),
        "waiting": 0 if lot is None else lot.queued + bool(lot.front),
        "source": names.get("source", ""),
        "event_id": names.get("event_id", ""),
        "type": names.get("type", ""),
        "ingress": message.ingress,
        "headers": message.headers,
        "body_base64": message.body_base64,
        "body_text": _text(body),
    }
    return QuarantinedMessage.model_validate(_fields(artifact, ident, message) | original)


def entry_view(row: QuarantineRow) -> QuarantineView:
    return QuarantineView.model_validate(_fields(row.artifact, row.id, row.message))


async def decide(
    context: Context, caller: Caller, verb: Verb, *, artifact: str, ident: str, reason: str, remote: str
) -> QuarantineOperation:
    """Release or discard one entry. One that waits behind another is released by what it waits for."""
    rule = caller.require("quarantine", Resource(artifact=artifact))
    message = _known(context, artifact, ident)
    if verb == "release" and message.kept is Kept.QUEUED:
        raise Malformed("quarantine.queued", "this event waits behind one that is parked; release or discard that one")
    command = _command(verb, caller, remote, reason)
    return await _order(context, verb, [(artifact, ident, rule)], command, f"{artifact} {ident}")


async def decide_all(context: Context, caller: Caller, verb: Verb, request: FilterRequest, *, remote: str) -> QuarantineOperation:
    """Release or discard what a filter selects: one command per entry. Of queues only the front is released; it brings the rest.

    The caller must be allowed to for every entry; if one is not theirs, nothing is ordered.
    """
    context.require_ready()
    targets: list[tuple[str, str, str]] = []
    async for row in _selected(context, request):
        if verb == "discard" or row.message.kept is not Kept.QUEUED:
            targets.append((row.artifact, row.id, caller.require("quarantine", Resource(artifact=row.artifact))))
        if len(targets) > COMMANDS_MAX:
            raise Malformed("quarantine.too_many", f"this selects more than {COMMANDS_MAX} entries; narrow it, and ask in parts")
    about = ", ".join(f"{name} {value}" for name, value in request.given.items())
    return await _order(context, verb, targets, _command(verb, caller, remote, request.reason), about)


def get_operation(context: Context, ident: str) -> QuarantineOperation:
    operation = context.control.operation(ident)
    if operation is None or operation.verb not in _VERBS.values():
        raise context.unknown(
            "operation.unknown", "no release or discard of this id is known; only the newest ten thousand are kept"
        )
    return operation_view(context, operation)


def operation_view(context: Context, operation: Operation) -> QuarantineOperation:
    markers = {partition: context.queries.marker(partition) for partition in operation.offsets}
    waiting = [p for p, offset in sorted(operation.offsets.items()) if markers[p].commands < offset]
    is_running = any(marker.parked.draining for marker in markers.values())
    return QuarantineOperation(
        id=operation.id,
        verb="release" if operation.verb == "quarantine.release" else "discard",
        state="pending" if waiting else "running" if is_running else "done",
        principal=operation.principal,
        reason=operation.reason,
        at=rfc3339(operation.at_ms),
        about=operation.about,
        entries=operation.artifacts,
        partitions_waiting=waiting,
        tokens=[str(Token(COMMANDS, partition, offset=end - 1)) for partition, end in sorted(operation.offsets.items())],
    )


async def _order(
    context: Context, verb: Verb, targets: list[tuple[str, str, str]], command: Command, about: str
) -> QuarantineOperation:
    """Append a command for each (artifact, entry, rule that allows it), then remember the operation."""
    offsets: dict[int, int] = {}
    for start in range(0, len(targets), _APPEND_MAX):
        offsets |= await context.commands.append(
            (artifact, replace(command, subject=ident, rule=rule))
            for artifact, ident, rule in targets[start : start + _APPEND_MAX]
        )
    operation = Operation(
        id=command.id,
        principal=command.principal,
        at_ms=command.at_ms,
        artifacts=len(targets),
        reason=command.reason,
        offsets=offsets,
        verb=_VERBS[verb],
        about=about,
    )
    await context.commands.record(operation, forget=context.control.superfluous())
    return operation_view(context, operation)


def _command(verb: Verb, caller: Caller, remote: str, reason: str) -> Command:
    now_ms = int(time.time() * 1000)
    return Command(f"{now_ms:013d}-{secrets.token_hex(5)}", _VERBS[verb], caller.name, now_ms, reason=reason, remote=remote)


async def _selected(context: Context, request: FilterRequest) -> AsyncIterator[QuarantineRow]:
    artifacts = request.artifacts or "*"
    wanted = QuarantineFilter(
        prefix=artifacts.partition("*")[0],
        key=glob(artifacts),
        principal=request.principal or "",
        reason=request.code or "",
        rule=request.rule or "",
        kept=None if request.kept is None else Kept(request.kept),
        since_ms=_ms(request.since),
        until_ms=_ms(request.until),
    )
    after: bytes | None = None
    while True:
        page = context.queries.quarantine(wanted, after=after, limit=_PAGE)
        for row in page.rows:
            yield row
        after = page.after
        if after is None:
            return
        await asyncio.sleep(0)


def _known(context: Context, artifact: str, ident: str) -> Quarantined:
    message = context.queries.quarantined(artifact, ident)
    if message is None:
        raise context.unknown("quarantine.unknown", "no message is in quarantine under this key and id")
    return message


def _fields(artifact: str, ident: str, message: Quarantined) -> dict[str, object]:
    return {
        "artifact": artifact,
        "id": ident,
        "kept": message.kept.value,
        "reason": message.reason,
        "detail": message.detail,
        "rule": message.rule,
        "waived": message.waived,
        "principal": message.principal,
        "size_bytes": message.size_bytes,
        "at": rfc3339(message.at_ms),
    }


def _text(body: bytes) -> str | None:
    """What a person can read; None for everything else."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\t\r\n" for char in text) else None


def _ms(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)
