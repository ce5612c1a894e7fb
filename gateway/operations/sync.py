"""What is out of step, the manual trigger, and how far a triggered sync is."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Literal

from agents.authz import May, Resource
from gateway import cursors
from gateway.context import Context
from gateway.operations.artifacts import pair_fields
from gateway.questions import Selector, SyncQuery, SyncRequest
from gateway.tokens import COMMANDS, Token
from gateway.views import OperationView, OutOfStepPage, OutOfStepView, rfc3339
from streams.commands import Command, Operation
from streams.errors import Malformed
from streams.settings import glob
from tables.model import SEP, Head, SyncState
from tables.queries import EXAMINED_MAX, Filter, index_key
from tables.status import Pair

#: One manual sync is at most so many commands; whoever wants more narrows the selector and asks twice.
COMMANDS_MAX = 100_000
_APPEND_MAX = 1000
_WALK_KEYS = 200  # between two of which the event loop gets its turn


def list_out_of_step(context: Context, query: SyncQuery, may_read: May) -> OutOfStepPage:
    """Pairs that are not in sync and may be read, by artifact key and component."""
    context.require_ready()
    after = cursors.decode(query.cursor)
    items: list[OutOfStepView] = []
    last = after
    for examined, (place, artifact, pair) in enumerate(_places(context, after)):
        if len(items) == query.limit or examined == EXAMINED_MAX:
            return OutOfStepPage(items=items, next_cursor=cursors.encode(last))
        if (
            query.component in ("", pair.component)
            and query.state in (None, pair.state)
            and may_read(Resource(artifact=artifact, component=pair.component))
        ):
            items += out_of_step_views(context, artifact, pair.component)
        last = place
    return OutOfStepPage(items=items, next_cursor=None)


def _places(context: Context, after: bytes | None) -> Iterator[tuple[bytes, str, Pair]]:
    """Pairs that come after `after`, in order, each with its place."""
    for artifact, pairs in context.status.out_of_step((after or b"").partition(SEP)[0]):
        for pair in sorted(pairs):
            place = index_key(artifact, pair.component)
            if pair.state is not SyncState.IN_SYNC and (after is None or place > after):
                yield place, artifact, pair


def out_of_step_views(context: Context, artifact: str, component: str) -> list[OutOfStepView]:
    """One, or none if the pair came into step since it was counted."""
    found = context.queries.artifact(artifact)
    pair = found[1].sync.get(component) if found else None
    if pair is None or pair.state is SyncState.IN_SYNC:
        return []
    return [
        OutOfStepView.model_validate(
            {"artifact": artifact, "component": component, **pair_fields(context, artifact, component, pair)}
        )
    ]


async def trigger_sync(
    context: Context, principal: str, request: SyncRequest, require: Callable[[Resource], object]
) -> OperationView:
    """Append one command per artifact (per pair, where a state was asked for), then remember the operation.

    `require` raises for what the caller may not sync; then nothing is appended.
    """
    selector = request.selector or Selector(component=request.component)
    if selector.component is not None and selector.component not in context.settings.components:
        raise Malformed("component.unknown", f"no component {selector.component!r} is in the configuration")
    ident = f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(5)}"
    now_ms = int(time.time() * 1000)
    targets = await _targets(context, request.artifact, selector, require)
    offsets: dict[int, int] = {}
    for slice_start in range(0, len(targets), _APPEND_MAX):
        commands = [
            (artifact, Command(ident, "sync", principal, now_ms, component, request.reason))
            for artifact, component in targets[slice_start : slice_start + _APPEND_MAX]
        ]
        offsets |= await context.commands.append(commands)
    operation = Operation(
        id=ident,
        principal=principal,
        at_ms=now_ms,
        artifacts=len(targets),
        reason=request.reason,
        artifact=request.artifact or selector.artifacts,
        component=selector.component or "",
        state=selector.state or "",
        offsets=offsets,
    )
    await context.commands.record(operation, forget=context.control.superfluous())
    return operation_view(context, operation)


def get_operation(context: Context, ident: str) -> OperationView:
    operation = context.control.operation(ident)
    if operation is None or operation.verb != "sync":
        if not context.control.ready:
            context.require_ready()
        raise context.unknown("operation.unknown", "no sync of this id is known; only the newest ten thousand are kept")
    return operation_view(context, operation)


def operation_view(context: Context, operation: Operation) -> OperationView:
    waiting = [p for p, offset in sorted(operation.offsets.items()) if context.queries.marker(p).commands < offset]
    pairs = context.status.by_command(operation.id)
    return OperationView(
        id=operation.id,
        state=_progress(bool(waiting), pairs[SyncState.BEHIND], pairs[SyncState.FAILED]),
        principal=operation.principal,
        reason=operation.reason,
        at=rfc3339(operation.at_ms),
        artifact=operation.artifact,
        component=operation.component,
        wanted_state=operation.state,
        commands=operation.artifacts,
        partitions_waiting=waiting,
        in_sync=pairs[SyncState.IN_SYNC],
        behind=pairs[SyncState.BEHIND],
        failed=pairs[SyncState.FAILED],
        tokens=[str(Token(COMMANDS, partition, offset=end - 1)) for partition, end in sorted(operation.offsets.items())],
    )


def _progress(waiting: bool, behind: int, failed: int) -> Literal["pending", "running", "done", "failed"]:
    if waiting:
        return "pending"
    if behind:
        return "running"
    return "failed" if failed else "done"


async def _targets(
    context: Context, artifact: str | None, selector: Selector, require: Callable[[Resource], object]
) -> list[tuple[str, str]]:
    """(artifact, component) of each command; "" is every component that the artifact is routed to."""
    if artifact is not None:
        require(Resource(artifact=artifact))
        if context.queries.artifact(artifact) is None:
            raise context.unknown("artifact.unknown", "no event about this artifact has been accepted")
        return [(artifact, "")]
    context.require_ready()
    targets: list[tuple[str, str]] = []
    matches = glob(selector.artifacts).fullmatch
    for walked, (key, head) in enumerate(context.queries.keys(selector.artifacts.partition("*")[0])):
        if walked % _WALK_KEYS == 0:
            await asyncio.sleep(0)
        if matches(key):
            for component in _components(head, selector):
                require(Resource(artifact=key, component=component))
                targets.append((key, component))
        if len(targets) > COMMANDS_MAX:
            raise Malformed("sync.too_many", f"this selects more than {COMMANDS_MAX} pairs; narrow it, and ask in parts")
    return targets


def _components(head: Head, selector: Selector) -> list[str]:
    """With a state only the pairs in that state are touched; without one the artifact is, once."""
    state = SyncState(selector.state) if selector.state else None
    if state is None:
        return [selector.component or ""] if Filter(component=selector.component or "").admits(head) else []
    return [name for name, pair in head.sync.items() if pair.state is state and selector.component in (None, name)]
