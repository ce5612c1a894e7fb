"""Records for components that read the log, made from state alone. That of an event being accepted is made beside it, in `on_event.py`."""

from __future__ import annotations

from operator import itemgetter

from agents import sync_state
from agents.delivery import log_record
from agents.routing import Target
from agents.turn_state import TurnState
from streams.record_batch import Record
from tables.model import Head, Sync
from tables.overlay import Overlay


def settle_logs(state: TurnState, artifact: str, head: Head, targets: list[Target]) -> None:
    """Components that read the log get their records now; the others' sink actors see the changed head."""
    for target in targets:
        sync = head.sync.get(target.component)
        if target.sink_type == "log" and sync is not None and sync.delivered < sync.desired:
            state.sync[target.component] += log_records(state.overlay, artifact, target, sync)
            head.sync[target.component] = sync_state.settle(sync, now_ms=state.now_ms)
    state.overlay.put_head(artifact, head)


def log_records(overlay: Overlay, artifact: str, target: Target, sync: Sync) -> list[Record]:
    """What is between delivered and desired: the newest version, or every one since, the newest under the desired generation."""
    found = []
    if target.mode == "every":
        later = [(e.generation, v, e) for v, e in overlay.versions(artifact) if e.generation > sync.delivered]
        found = [
            (generation, version, entry)
            for generation, version, entry in sorted(later, key=itemgetter(0))
            if version != sync.version
        ]
    newest_entry = overlay.version(artifact, sync.version)
    if newest_entry is not None:
        found.append((sync.desired, sync.version, newest_entry))
    return [(artifact.encode(), log_record(target.component, artifact, *version), []) for version in found]
