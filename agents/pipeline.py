"""The order of the steps: one turn's commands, receipts and events, judged and folded, become one `Outcome`. No I/O but the overlay's reads.

For each event: dedup by identity -> decode and validate -> dedup by (principal, source, id) -> may this principal publish it ->
fold into head and version -> audit. A record that is bad costs only itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from operator import itemgetter
from typing import Any

import msgspec
from msgspec.structs import replace

from agents import sync_state
from agents.audit import AuditTrail
from agents.clock import HybridClock
from agents.dedup import event_hash, is_duplicate, is_repeated
from agents.delivery import event_record, log_record
from agents.fold import Arrival, accept
from agents.newest import newest
from agents.quarantine import names_of, quarantined
from agents.routing import Target
from agents.rules import Rules
from agents.sinks.base import Receipt
from agents.turn import Outcome, Work
from streams.codec import check_time, decode_event
from streams.commands import Command
from streams.errors import Malformed, NotAllowed
from streams.events import Event, Incoming
from streams.ingress import HEADER, Ingress
from streams.metrics import type_label
from streams.record_batch import Record
from tables.audit_record import AuditRecord
from tables.audit_record import Outcome as Word
from tables.model import SEP, Head, Marker, Sync
from tables.overlay import Overlay

_command_decoder = msgspec.json.Decoder(Command)
#: How many heads one turn routes anew after the routes have changed; a partition never stands still for it.
REROUTED_PER_TURN_MAX = 500


class Turn:
    """One turn over an overlay. Use once."""

    def __init__(self, partition: int, marker: Marker, overlay: Overlay, rules: Rules, now_ms: int) -> None:
        self._partition = partition
        self._overlay = overlay
        self._rules = rules
        self._now_ms = now_ms
        self._hlc = HybridClock(marker, rules.cluster, now_ms)
        self._audit = AuditTrail(marker, now_ms, rules.config_hash)
        self._marker = replace(marker, turn=marker.turn + 1, marks=dict(marker.marks))
        self._sync: defaultdict[str, list[Record]] = defaultdict(list)
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._repeated = 0

    def run(self, work: Work) -> Outcome:
        for record in work.commands:
            self._command(record)
        for number, receipt in enumerate(work.receipts):
            self._receipt(number, receipt)
        for record in work.events:
            self._event(record)
        if work.events:
            self._marker.last_event = _incoming(work.events[-1])[0].decode()
        if self._marker.routing != self._rules.routing.hash:
            self._reroute()
        return self._outcome()

    def _outcome(self) -> Outcome:
        tables = self._overlay.records()
        marker = self._marker
        marker.audit_seq, marker.audit_head = self._audit.seq, self._audit.head
        marker.hlc_ms, marker.hlc_count = self._hlc.ms, self._hlc.count
        if tables["versions"]:
            marker.versions_turn = marker.turn
        if tables["quarantine"]:
            marker.quarantine_turn = marker.turn
        return Outcome(
            marker=marker,
            tables=tables,
            generations=self._overlay.generations(),
            audit=self._audit.records,
            sync=self._sync,
            changed=list(self._overlay.changed),
            events=self._counts,
            repeated=self._repeated,
        )

    # -- events ----------------------------------------------------------------------------------------------------------------

    def _event(self, record: Any) -> None:
        self._marker.events = record.offset + 1
        ingress_text, incoming = _incoming(record)
        ingress = Ingress.decode(ingress_text)
        mark = ingress.mark
        if is_repeated(ingress.stream, mark, self._marker):
            self._repeated += 1
            return
        self._marker.marks[ingress.stream] = mark
        try:
            event = self._decoded(record, incoming, ingress)
        except Malformed as exc:
            self._quarantine(record, ingress, incoming, exc)
            return
        taken = event_hash(ingress.principal, event.source, event.id)
        version_key = record.key + SEP + event.artifact.version.encode()
        self._judge(record, Arrival(event, incoming, ingress, ingress_text.decode(), taken, version_key))

    def _decoded(self, record: Any, incoming: Incoming, ingress: Ingress) -> Event:
        event = decode_event(incoming, self._rules.limits)
        check_time(event, ingress.ingress_ms, self._rules.limits)
        if event.artifact.key.encode() != record.key:
            raise Malformed("key.mismatch", f"the record's key is {record.key!r}, the event is about {event.artifact.key!r}")
        return event

    def _judge(self, record: Any, arrival: Arrival) -> None:
        artifact = arrival.event.artifact
        head = self._overlay.head(artifact.key)
        version = None if head is None else self._overlay.version_at(arrival.version_key)
        if is_duplicate(arrival.taken, head, version):
            self._audit_event(record, arrival, Word.DUPLICATE)
            return
        try:
            self._rules.check_publish(arrival.ingress.principal, arrival.event)
        except NotAllowed as exc:
            self._audit_event(record, arrival, Word.REFUSED, code=exc.code, detail=exc.detail, rule="may_publish")
            return
        head, log_targets = accept(
            arrival, self._overlay, self._rules.routing, version=version, now_ms=self._now_ms, hlc=self._hlc.tick()
        )
        value = event_record(head.generation, arrival.event) if log_targets else b""
        for target in log_targets:
            sync = head.sync[target.component]
            if sync.version == artifact.version:
                self._sync[target.component].append((record.key, value, []))
            else:  # the newest version was deleted: what the component needs now is another one
                self._sync[target.component] += self._log_records(artifact.key, target, sync)
        self._audit_event(record, arrival, Word.ACCEPTED, generation=head.generation)

    def _audit_event(
        self, record: Any, arrival: Arrival, word: Word, *, generation: int = 0, code: str = "", detail: str = "", rule: str = ""
    ) -> None:
        event, artifact, trail = arrival.event, arrival.event.artifact, self._audit
        trail.append(
            AuditRecord(
                id=f"events-{self._partition}-{record.offset}",
                seq=trail.seq,
                at_ms=trail.at_ms,
                outcome=word,
                artifact=artifact.key,
                principal=arrival.ingress.principal,
                source=event.source,
                event_id=event.id,
                type=event.type,
                version=artifact.version,
                digest=artifact.digest or "",
                generation=generation,
                code=code,
                detail=detail,
                rule=rule,
                config=trail.config,
                ingress=arrival.ingress_text,
            )
        )
        self._counts[word, type_label(event.type), arrival.ingress.principal] += 1

    def _quarantine(self, record: Any, ingress: Ingress, incoming: Incoming, why: Malformed) -> None:
        key, ident = record.key.decode(), f"events-{self._partition:05d}-{record.offset:020d}"
        self._overlay.put_quarantined(key, ident, quarantined(incoming, ingress, why, self._now_ms))
        self._audit.add(
            f"events-{self._partition}-{record.offset}",
            Word.QUARANTINED,
            key,
            principal=ingress.principal,
            code=why.code,
            detail=why.detail,
            ingress=ingress.encode().decode(),
            **names_of(incoming),
        )
        self._counts[Word.QUARANTINED, "other", ingress.principal] += 1

    # -- receipts --------------------------------------------------------------------------------------------------------------

    def _receipt(self, number: int, receipt: Receipt) -> None:
        head = self._overlay.head(receipt.artifact)
        sync = None if head is None else head.sync.get(receipt.component)
        target = self._rules.routing.target(receipt.artifact, receipt.component)
        if head is None or sync is None or target is None:
            return
        verdict = sync_state.receive(
            sync, receipt, backoff=self._rules.backoffs[receipt.component], now_ms=self._now_ms, mode=target.mode
        )
        if verdict.sync is None:
            return
        self._overlay.put_head(receipt.artifact, replace(head, sync={**head.sync, receipt.component: verdict.sync}))
        if verdict.outcome in {"delivered", "failed"}:
            self._audit.add(
                f"receipt-{self._partition}-{self._marker.turn}-{number}",
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

    # -- commands --------------------------------------------------------------------------------------------------------------

    def _command(self, record: Any) -> None:
        self._marker.commands = record.offset + 1
        command, artifact = _command_decoder.decode(record.value), record.key.decode()
        head = self._overlay.head(artifact)
        targets = self._commanded(artifact, command)
        if head is not None and targets:
            self._desire_again(artifact, head, targets, command)
        self._audit.add(
            f"commands-{self._partition}-{record.offset}",
            Word.COMMAND,
            artifact,
            principal=command.principal,
            component=command.component,
            code=command.verb if head is not None and targets else f"{command.verb}.nothing_to_do",
            detail=command.reason,
            generation=0 if head is None else head.generation + bool(targets),
            command=command.id,
        )

    def _commanded(self, artifact: str, command: Command) -> list[Target]:
        return [t for t in self._rules.routing.targets(artifact) if command.component in {"", t.component}]

    def _desire_again(self, artifact: str, head: Head, targets: list[Target], command: Command) -> None:
        generation, syncs = head.generation + 1, dict(head.sync)
        for target in targets:
            before = syncs.get(target.component)
            syncs[target.component] = sync_state.desire(
                before,
                generation=generation,
                version=before.version if before is not None else newest(head, target.newest),
                now_ms=self._now_ms,
                mode=target.mode,
                command=command.id,
            )
        self._settle_logs(artifact, replace(head, generation=generation, sync=syncs), targets)

    # -- routes that changed ---------------------------------------------------------------------------------------------------

    def _reroute(self) -> None:
        """Bring the next heads under the routes in force; the marker remembers how far, so a restart goes on from there."""
        for number, artifact in enumerate(self._overlay.heads_after(self._marker.routing_after)):
            if number == REROUTED_PER_TURN_MAX:
                return
            self._marker.routing_after = artifact
            head = self._overlay.head(artifact)
            targets = list(self._rules.routing.targets(artifact))
            changed = None if head is None else sync_state.retarget(head, targets, now_ms=self._now_ms)
            if changed is not None:
                self._settle_logs(artifact, changed, targets)
        self._marker.routing, self._marker.routing_after = self._rules.routing.hash, ""

    def _settle_logs(self, artifact: str, head: Head, targets: list[Target]) -> None:
        """Components that read the log get their records now; the others' sink actors see the changed head."""
        for target in targets:
            sync = head.sync.get(target.component)
            if target.sink_type == "log" and sync is not None and sync.delivered < sync.desired:
                self._sync[target.component] += self._log_records(artifact, target, sync)
                head.sync[target.component] = sync_state.settle(sync, now_ms=self._now_ms)
        self._overlay.put_head(artifact, head)

    def _log_records(self, artifact: str, target: Target, sync: Sync) -> list[Record]:
        """What is between delivered and desired: the newest version, or every one since, the newest under the desired generation."""
        found = []
        if target.mode == "every":
            later = [(e.generation, v, e) for v, e in self._overlay.versions(artifact) if e.generation > sync.delivered]
            found = [
                (generation, version, entry)
                for generation, version, entry in sorted(later, key=itemgetter(0))
                if version != sync.version
            ]
        newest_entry = self._overlay.version(artifact, sync.version)
        if newest_entry is not None:
            found.append((sync.desired, sync.version, newest_entry))
        return [(artifact.encode(), log_record(target.component, artifact, *version), []) for version in found]


def _incoming(record: Any) -> tuple[bytes, Incoming]:
    """The `sm-ingress` header and the message as it came through the door."""
    headers = record.headers
    if len(headers) == 1:
        return headers[0][1], Incoming(record.value or b"")
    found = dict(headers)
    return found.pop(HEADER), Incoming(record.value or b"", {name: value.decode() for name, value in found.items()})
