"""What comes out of quarantine: releases and discards, each one command about one entry, and the queues that are drained after them.

A released event is judged by the configuration in force, as of now, as if it had just come, but for the rule that parked it: that one the
releaser overrides, and no other. The override stays with the entry, so an event that breaks two rules is let in by two releases.

What queued behind is judged in order, some entries with each turn, until one is parked or the queue is empty. That a queue is being
drained is in its lot, so a restart goes on; what comes meanwhile goes to the end of the queue.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from itertools import islice

from msgspec.structs import replace

from agents.dedup import HEAD_TAKEN_MAX, remembered
from agents.event_audit import audit_event
from agents.fold import Arrival
from agents.on_event import arrived, judge, set_aside
from agents.parking import Finding, keep, park, remove
from agents.quarantine import names_of
from agents.turn_state import TurnState
from streams.commands import Command
from streams.errors import Malformed
from streams.events import Incoming
from streams.ingress import Ingress
from tables.audit_record import Outcome as Word
from tables.model import Kept, Lot, Quarantined

#: What one turn judges again, of all queues together. The bytes are looked at between two queues, of which none is larger than 1 MiB.
DRAINED_PER_TURN_MAX = 200
DRAINED_BYTES_PER_TURN_MAX = 4 << 20


def release(state: TurnState, command: Command, artifact: str, audit_id: str) -> None:
    """`quarantine.release`: judge the entry again. One that only waits is released by what it waits for."""
    entry = state.overlay.quarantined(artifact, command.subject)
    if entry is None or entry.kept is Kept.QUEUED:
        _tell(state, command, artifact, audit_id, entry, code=f"{command.verb}.{'nothing_to_do' if entry is None else 'waits'}")
        return
    if entry.kept is Kept.MALFORMED:
        _tell(state, command, artifact, audit_id, entry, code=command.verb)
        _judge_again(state, artifact, command.subject, entry, command.id)
        return
    _tell(state, command, artifact, audit_id, entry, code=command.verb, did=f"overrides {entry.rule} ({entry.reason})")
    entry = replace(entry, waived=[*entry.waived, entry.rule])
    finding = _judge_again(state, artifact, command.subject, entry, command.id)
    lot = replace(state.overlay.lots.get(artifact) or Lot(), command=command.id)
    _put_lot(state, artifact, replace(lot, front="") if finding is None else _parked(state, lot, command.subject, finding))


def discard(state: TurnState, command: Command, artifact: str, audit_id: str) -> None:
    """`quarantine.discard`: the entry goes for good. A repetition of it by its producer is a duplicate."""
    ident, entry = command.subject, state.overlay.quarantined(artifact, command.subject)
    _tell(state, command, artifact, audit_id, entry, code=command.verb if entry else f"{command.verb}.nothing_to_do")
    if entry is None:
        return
    remove(state, artifact, ident)
    if entry.kept is Kept.MALFORMED:
        return
    lot = state.overlay.lots.get(artifact) or Lot()
    lot = replace(lot, discarded=remembered(entry.taken, lot.discarded, HEAD_TAKEN_MAX), command=command.id)
    _put_lot(state, artifact, replace(lot, front="") if entry.kept is Kept.PARKED else _shortened(lot, entry))


def drain(state: TurnState) -> None:
    """Judge the next entries of the queues that nothing holds up any more, of each as many. Whoever had a turn goes to the end."""
    artifacts, drained_bytes = sorted(islice(state.overlay.draining, DRAINED_PER_TURN_MAX)), 0
    for artifact in artifacts:
        drained_bytes += _drain(state, artifact, DRAINED_PER_TURN_MAX // len(artifacts))
        if drained_bytes > DRAINED_BYTES_PER_TURN_MAX:
            return


def _drain(state: TurnState, artifact: str, entries_max: int) -> int:
    """How many bytes were judged."""
    lot, count = state.overlay.lots[artifact], 0
    queued_bytes = lot.queued_bytes
    for ident, entry in islice(state.overlay.queue(artifact), entries_max):
        count += 1
        lot = _shortened(lot, entry)
        finding = _judge_again(state, artifact, ident, entry, lot.command)
        if finding is not None:
            lot = _parked(state, lot, ident, finding)
            break
    drained_bytes = queued_bytes - lot.queued_bytes
    if not lot.front and count < entries_max:  # that was all, whatever the lot says
        lot = replace(lot, queued=0, queued_bytes=0)
    _put_lot(state, artifact, lot)
    return drained_bytes


def _judge_again(state: TurnState, artifact: str, ident: str, entry: Quarantined, command: str) -> Finding | None:
    """Why the entry is parked again, in its place; None if it is in quarantine no more, or is not an event any more."""
    remove(state, artifact, ident)
    arrival = _arrival(state, artifact, ident, entry, command)
    if arrival is None:
        return None
    is_new = entry.kept is Kept.MALFORMED  # nobody waits for it, so it has no place in a queue yet
    finding = judge(state, arrival, waits=is_new, waived=entry.waived)
    if finding is not None and is_new:
        park(state, arrival, finding)
    elif finding is not None:
        why = {"reason": finding.code, "detail": finding.detail, "rule": finding.rule}
        keep(state, artifact, ident, replace(entry, kept=Kept.PARKED, **why))
        audit_event(state, arrival, Word.QUARANTINED, code=finding.code, detail=finding.detail, rule=finding.rule)
    return finding


def _arrival(state: TurnState, artifact: str, ident: str, entry: Quarantined, command: str) -> Arrival | None:
    """The event, decoded anew; None if it is none, or none any more: then it is set aside again."""
    ingress = Ingress.decode(entry.ingress.encode())
    incoming = Incoming(b64decode(entry.body_base64), entry.headers)
    audit_id = f"release-{state.partition}-{state.marker.turn}-{state.released}"
    state.released += 1
    try:
        arrival = arrived(state, artifact.encode(), incoming, ingress, entry.ingress, audit_id)
    except Malformed as exc:
        set_aside(state, artifact, incoming, ingress, exc, ident=ident, audit_id=audit_id, command=command)
        return None
    return replace(arrival, command=command)


def _parked(state: TurnState, lot: Lot, front: str, finding: Finding) -> Lot:
    return replace(lot, front=front, rule=finding.rule, since_ms=state.now_ms)


def _shortened(lot: Lot, entry: Quarantined) -> Lot:
    return replace(lot, queued=lot.queued - 1, queued_bytes=lot.queued_bytes - entry.size_bytes)


def _put_lot(state: TurnState, artifact: str, lot: Lot) -> None:
    """What was discarded is remembered by the head, as all that was taken is, once there is one."""
    head = state.overlay.head(artifact) if lot.discarded else None
    if head is not None:
        head.taken_hashes = remembered(lot.discarded, head.taken_hashes, HEAD_TAKEN_MAX)
        state.overlay.put_head(artifact, head)
        lot = replace(lot, discarded="")
    state.overlay.put_lot(artifact, lot)


def _tell(
    state: TurnState, command: Command, artifact: str, audit_id: str, entry: Quarantined | None, *, code: str, did: str = ""
) -> None:
    """The command's own audit record: who, which entry, the digest of its bytes, why."""
    about = {}
    if entry is not None:
        body = b64decode(entry.body_base64)
        about = {"digest": f"sha256:{hashlib.sha256(body).hexdigest()}", "ingress": entry.ingress}
        about |= names_of(Incoming(body, entry.headers))
    state.audit.add(
        audit_id,
        Word.COMMAND,
        artifact,
        principal=command.principal,
        code=code,
        detail="; ".join(filter(None, (command.subject, did, command.reason))),
        rule=command.rule,
        command=command.id,
        remote=command.remote,
        **about,
    )
