"""What the steps of one turn share: the overlay, the marker as it will be, the audit trail, and what goes out. Used once."""

from __future__ import annotations

from collections import Counter, defaultdict

from msgspec.structs import replace

from agents.audit import AuditTrail
from agents.clock import HybridClock
from agents.rules import Rules
from agents.turn import Outcome
from streams.control import Hold
from streams.holds import Holds
from streams.record_batch import Record
from tables.model import Marker
from tables.overlay import Overlay


class TurnState:
    def __init__(self, partition: int, marker: Marker, overlay: Overlay, rules: Rules, now_ms: int, *, holds: Holds) -> None:
        self.partition = partition
        self.overlay = overlay
        self.rules = rules
        self.now_ms = now_ms
        self.holds = holds  # in effect; those that this turn makes are added
        self.made_holds: list[Hold] = []
        self.alerts: list[Record] = []
        self.told: Counter[str] = Counter()  # alerts by rule
        self.hlc = HybridClock(marker, rules.cluster, now_ms)
        self.audit = AuditTrail(marker, now_ms, rules.config_hash)
        self.marker = replace(marker, turn=marker.turn + 1, marks=dict(marker.marks))
        self.sync: defaultdict[str, list[Record]] = defaultdict(list)  # per component that reads the log
        self.counts: Counter[tuple[str, str, str]] = Counter()  # (outcome, type, principal)
        self.commands: Counter[str] = Counter()  # by verb
        self.repeated = 0
        self.released = 0  # entries that came out of quarantine and were judged again

    def outcome(self) -> Outcome:
        tables = self.overlay.records()
        marker = self.marker
        marker.audit_seq, marker.audit_head = self.audit.seq, self.audit.head
        marker.hlc_ms, marker.hlc_count = self.hlc.ms, self.hlc.count
        if tables["versions"]:
            marker.versions_turn = marker.turn
        if tables["quarantine"]:
            marker.quarantine_turn = marker.turn
            marker.parked = self.overlay.parked() or marker.parked
        return Outcome(
            marker=marker,
            tables=tables,
            generations=self.overlay.generations(),
            audit=self.audit.records,
            sync=self.sync,
            changed=list(self.overlay.changed),
            events=self.counts,
            holds=self.made_holds,
            alerts=self.alerts,
            repeated=self.repeated,
            commands=self.commands,
        )
