"""What a sink's receipt changes: the pair of its artifact and component. The machine is `sync_state.py`."""

from __future__ import annotations

from msgspec.structs import replace

from agents import sync_state
from agents.sinks.base import Receipt
from agents.turn_state import TurnState
from tables.audit_record import Outcome as Word


def take_receipt(state: TurnState, number: int, receipt: Receipt) -> None:
    head = state.overlay.head(receipt.artifact)
    sync = None if head is None else head.sync.get(receipt.component)
    target = state.rules.routing.target(receipt.artifact, receipt.component)
    if head is None or sync is None or target is None:
        return
    verdict = sync_state.receive(
        sync, receipt, backoff=state.rules.backoffs[receipt.component], now_ms=state.now_ms, mode=target.mode
    )
    if verdict.sync is None:
        return
    state.overlay.put_head(receipt.artifact, replace(head, sync={**head.sync, receipt.component: verdict.sync}))
    if verdict.outcome in {"delivered", "failed"}:
        state.audit.add(
            f"receipt-{state.partition}-{state.marker.turn}-{number}",
            Word(verdict.outcome),
            receipt.artifact,
            component=receipt.component,
            generation=receipt.generation,
            version=receipt.version,
            detail=receipt.error,
            superseded=verdict.superseded,
            attempts=verdict.attempts,
            command=sync.command if receipt.generation == sync.desired else "",
        )
