"""Records for components that read the log, made from state alone. That of an event being accepted is made beside it, in `on_event.py`."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from agents import sync_state
from agents.delivery import log_record
from agents.routing import Target
from agents.turn_state import TurnState
from streams.record_batch import Record
from tables.model import Head, Sync
from tables.overlay import Overlay


def settle_logs(state: TurnState, artifact: str, head: Head, targets: Iterable[Target]) -> None:
    """Components that read the log get their records now, or after the release; the others' sink actors see the changed head."""
    for target in targets:
        sync = head.sync.get(target.component)
        if target.sink_type != "log" or sync is None or sync.delivered >= sync.desired:
            continue
        if state.holds.blocks(artifact, target.component) is not None:
            state.marker.held, state.marker.holds = True, state.holds.hash  # `holds.py` comes back to it
            continue
        records = log_records(state.overlay, artifact, target, sync)
        state.sync[target.component] += records
        head.sync[target.component] = sync_state.settle(sync, now_ms=state.now_ms, deliveries=max(len(records), 1))
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
