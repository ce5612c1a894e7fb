"""Routes that changed: heads are brought under those in force, some with each turn, so that a partition never stands still for it."""

from __future__ import annotations

from agents import sync_state
from agents.log_outputs import settle_logs
from agents.turn_state import TurnState

#: How many heads one turn routes anew.
REROUTED_PER_TURN_MAX = 500


def reroute(state: TurnState) -> None:
    """The next heads; the marker remembers how far, so a restart goes on from there."""
    routing, marker = state.rules.routing, state.marker
    for number, artifact in enumerate(state.overlay.heads_after(marker.routing_after)):
        if number == REROUTED_PER_TURN_MAX:
            return
        marker.routing_after = artifact
        head = state.overlay.head(artifact)
        targets = list(routing.targets(artifact))
        changed = None if head is None else sync_state.retarget(head, targets, now_ms=state.now_ms)
        if changed is not None:
            settle_logs(state, artifact, changed, targets)
    marker.routing, marker.routing_after = routing.hash, ""
