"""A partition without a log: turns are committed into its store at once, unless told not to. The engine, the tables and the store are real."""

from __future__ import annotations

import msgspec

from agents.pipeline import Turn
from agents.rules import Rules
from agents.sinks.base import Receipt
from agents.turn import Outcome, Work
from streams.commands import Command, CommandVerb
from streams.holds import Holds
from streams.settings import Settings
from tables.audit_record import AuditRecord
from tables.model import MARKER_KEY, PARKED_PREFIX, Head, Marker, Quarantined, split_key
from tables.overlay import Overlay
from tables.store import PartitionStore
from tests.events import FakeRecord

NOW_MS = 1_795_000_100_000
_quarantined = msgspec.json.Decoder(Quarantined)


class Partition:
    def __init__(self, store: PartitionStore, settings: Settings) -> None:
        self.store = store
        self.rules = Rules(settings)
        self.overlay = Overlay(store)
        self.holds = Holds()
        self.now_ms = NOW_MS
        self.audit: list[AuditRecord] = []
        self.chain: list[tuple[bytes, str]] = []

    @property
    def marker(self) -> Marker:
        return self.store.marker()

    def turn(
        self, *events: FakeRecord, commands: list[FakeRecord] | None = None, receipts: list[Receipt] | None = None
    ) -> Outcome:
        outcome = self.try_turn(*events, commands=commands, receipts=receipts)
        batch = self.store.batch()
        for table, records in outcome.tables.items():
            for key, value, _ in records:
                assert key is not None
                batch.apply(table, key, value)
        batch.apply("artifacts", MARKER_KEY, msgspec.json.encode(outcome.marker))
        self.store.write(batch)
        self.overlay.committed()
        self.audit += [msgspec.json.decode(value, type=AuditRecord) for _, value, _ in outcome.audit if value]
        self.chain += [(value, headers[0][1].decode()) for _, value, headers in outcome.audit if value]
        return outcome

    def try_turn(
        self, *events: FakeRecord, commands: list[FakeRecord] | None = None, receipts: list[Receipt] | None = None
    ) -> Outcome:
        turn = Turn(0, self.marker, self.overlay, self.rules, self.now_ms, holds=self.holds)
        return turn.run(Work(commands or [], receipts or [], list(events)))

    def restart(self) -> None:
        """As after a crash, or on another worker: nothing but the store is left."""
        self.overlay = Overlay(self.store)

    def head(self, artifact: str) -> Head:
        head = Overlay(self.store).head(artifact)
        assert head is not None
        return head

    def outcomes(self) -> list[str]:
        return [record.outcome.value for record in self.audit]

    # -- quarantine ------------------------------------------------------------------------------------------------------------

    def quarantined(self) -> dict[tuple[str, str], Quarantined]:
        """By (artifact, id), in order."""
        return {split_key(key): _quarantined.decode(raw) for key, raw in self.store.scan("quarantine")}

    def waiting(self, artifact: str) -> list[str]:
        """Ids of what is parked of the artifact, in order."""
        return [ident for key, ident in self.quarantined() if key == artifact and ident.startswith(PARKED_PREFIX)]

    def command(self, verb: CommandVerb, artifact: str, subject: str) -> Outcome:
        """A turn with this command and nothing else."""
        value = msgspec.json.encode(
            Command(f"op{self.marker.commands}", verb, "operator", self.now_ms, "", "because", subject=subject)
        )
        return self.turn(commands=[FakeRecord(self.marker.commands, artifact.encode(), value, ())])
