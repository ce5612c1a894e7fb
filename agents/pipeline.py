"""The order of the steps: one turn's commands, receipts and events, judged and folded, become one `Outcome`. No I/O but the overlay's reads.

What each step decides is in its own file: `holds.py`, `on_command.py`, `on_receipt.py`, `on_event.py`, `release.py`, `reroute.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.config_change import note_configuration
from agents.dedup import is_repeated_command
from agents.holds import release_logs
from agents.lost_tail import id_of
from agents.on_command import take_command
from agents.on_event import take_events
from agents.on_receipt import take_receipt
from agents.release import drain
from agents.reroute import reroute
from agents.rules import Rules
from agents.turn import Outcome, Work
from agents.turn_state import TurnState
from streams.holds import Holds
from tables.model import Marker
from tables.overlay import Overlay

#: Some ten milliseconds of work.
_EVENTS_AT_ONCE = 500


class Turn:
    """One turn over an overlay. Use once."""

    def __init__(self, partition: int, marker: Marker, overlay: Overlay, rules: Rules, now_ms: int, *, holds: Holds) -> None:
        self._state = TurnState(partition, marker, overlay, rules, now_ms, holds=holds)

    def run(self, work: Work) -> Outcome:
        """The whole turn at once."""
        for _ in self.steps(work):
            pass
        return self.outcome()

    def steps(self, work: Work) -> Iterator[None]:
        """The turn in parts of a few milliseconds, for whoever has others to let in between: `outcome` is what all of them make."""
        state = self._state
        note_configuration(state.partition, state.marker, state.audit)
        release_logs(state)
        for record in work.commands:
            self._command(record)
        for number, receipt in enumerate(work.receipts):
            take_receipt(state, number, receipt)
        if state.overlay.draining:
            drain(state)
        for begin in range(0, len(work.events), _EVENTS_AT_ONCE):
            if begin:
                yield
            take_events(state, work.events[begin : begin + _EVENTS_AT_ONCE])
        if state.marker.routing != state.rules.routing.hash:
            reroute(state)

    def outcome(self) -> Outcome:
        return self._state.outcome()

    def _command(self, record: Any) -> None:
        marker = self._state.marker
        if is_repeated_command(record.offset, record.timestamp, marker):
            marker.commands = record.offset + 1
            self._state.repeated += 1
        else:
            take_command(self._state, record)
        marker.command_ms, marker.last_command = max(marker.command_ms, record.timestamp), id_of(record)
