"""The state machine of one (artifact, component) pair, over `tables.model.Sync`. Pure: who calls it and who delivers is elsewhere.

                 desire                                      receipt for the desired generation: delivered
    (no pair) ─────────────► BEHIND ────────────────────────────────────────────────────────────────────────► IN_SYNC
                             │  ▲ ▲  ▲                                                                          │
      retry: attempts + 1,   │  │ │  └──────────────────────────── desire: a newer generation ──────────────────┘
      next_retry_ms ─────────┘  │ │
      (stays BEHIND) ───────────┘ └── desire ── FAILED ◄── receipt: failed, a permanent answer

*Desired* and *delivered* are generations of the artifact. The pair is in sync exactly when delivered >= desired. Rules:

1. A receipt for a generation that is delivered already is a repetition and changes nothing.
2. A receipt never speaks for a generation newer than its own: delivery of an older one raises `delivered`, no more.
3. In mode `latest` a retry or a failure of an older generation is of no interest: it will not be attempted again.
4. In mode `every` the pair stands at the version that failed, so that order holds; a newer desired generation tries it again.
5. A receipt whose predecessor got lost (`after` is beyond `delivered`) is stale: what it rests on is delivered again first.

Counts, in mode `latest`: deliveries + superseded + pending = desired generations ever. In mode `every` each version counts as a
delivery, also those of a backfill, which is one desired generation; `superseded` are those that never needed a delivery of their own.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Literal

import msgspec
from msgspec.structs import replace

from agents.backoff import Backoff
from agents.newest import newest
from agents.routing import Mode, Target
from agents.sinks.base import Receipt, Result
from tables.model import Head, Sync, SyncState

ERROR_CHARACTERS_MAX = 200


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What a receipt means. `sync` is None when nothing changes; then there is nothing to audit either."""

    sync: Sync | None
    outcome: Literal["delivered", "failed", "retry", "stale"]
    superseded: int = 0  # older desired generations that this delivery made pointless
    attempts: int = 0  # of this generation, this one included


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Attempt a delivery now."""


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Look again at `until_ms`."""

    until_ms: int


class Nothing(msgspec.Struct, frozen=True, gc=False):
    """In sync, or failed for good: only a new desired generation makes work."""


Step = Deliver | Wait | Nothing

_DELIVER, _NOTHING, _STALE = Deliver(), Nothing(), Verdict(None, "stale")


def desire(sync: Sync | None, *, generation: int, version: str, now_ms: int, mode: Mode = "latest", command: str = "") -> Sync:
    """A new desired generation. Attempts begin anew, but for mode `every`: there the version under way is still the older one."""
    if sync is None:
        return Sync(desired=generation, version=version, since_ms=now_ms, pending=1, command=command)
    if generation <= sync.desired:
        return sync
    if mode == "every" and sync.state is SyncState.BEHIND and not command:
        return replace(sync, desired=generation, version=version, pending=sync.pending + 1)
    return replace(
        sync,
        desired=generation,
        version=version,
        state=SyncState.BEHIND,
        since_ms=now_ms if sync.state is SyncState.IN_SYNC else sync.since_ms,
        attempts=0,
        next_retry_ms=0,
        last_error="",
        pending=sync.pending + 1,
        command=command or sync.command,
    )


def settle(sync: Sync, *, now_ms: int, deliveries: int = 1) -> Sync:
    """All that is desired is delivered: by a receipt, or because a log sink's records, so many, are in the same transaction."""
    return replace(
        sync,
        delivered=sync.desired,
        state=SyncState.IN_SYNC,
        since_ms=now_ms,
        attempts=0,
        next_retry_ms=0,
        last_error="",
        pending=0,
        superseded=sync.superseded + max(sync.pending - deliveries, 0),
        deliveries=sync.deliveries + deliveries,
    )


def apply_event(  # noqa: PLR0917 - on the path of every event, where keywords cost
    syncs: dict[str, Sync],
    targets: Iterable[Target],
    generation: int,
    version: str,
    newest_semver: str,
    now_ms: int,
    held: Container[str] = (),
) -> dict[str, Sync]:
    """The fold step of one accepted event: what each target desires now. The dictionary given is not touched.

    A log target is in step at once: `result[component].delivered == generation` says that its record belongs into this transaction.
    But for those that are `held`, or that have waited since they were: what they have missed goes before.
    """
    result = syncs.copy()
    for target in targets:
        sync = syncs.get(target.component)
        wanted = version
        if target.newest == "semver" and target.mode == "latest":
            wanted = newest_semver
            if sync is not None and wanted == sync.version and wanted != version:
                continue  # about an older version: the newest stays what it was
        if target.sink_type == "log" and target.component not in held and (sync is None or sync.delivered >= sync.desired):
            result[target.component] = _settled(sync, generation, wanted, now_ms)
        else:
            result[target.component] = desire(sync, generation=generation, version=wanted, now_ms=now_ms, mode=target.mode)
    return result


def _settled(sync: Sync | None, generation: int, version: str, now_ms: int) -> Sync:
    """`desire` and `settle` in one: the pair of a component that reads the log, whose record is in the same transaction."""
    if sync is None:
        return Sync(generation, generation, version, SyncState.IN_SYNC, now_ms, deliveries=1)
    superseded, deliveries = sync.superseded + sync.pending, sync.deliveries + 1
    return Sync(
        generation, generation, version, SyncState.IN_SYNC, now_ms, 0, 0, "", 0, superseded, deliveries, sync.command, sync.failed
    )


def retarget(head: Head, targets: Iterable[Target], *, now_ms: int) -> Head | None:
    """The head under other routes, None if they change nothing for it: new pairs start behind, pairs without a route end.

    A pair whose newest version is another by the new rule gets that one. All of them share one raised generation, so that an
    idempotency key from before the component was last removed is never used again. Log targets stay behind until the engine has
    written their records and called `settle`.
    """
    generation = head.generation + 1
    syncs: dict[str, Sync] = {}
    for target in targets:
        sync, wanted = head.sync.get(target.component), newest(head, target.newest)
        if sync is None or (target.mode == "latest" and sync.version != wanted):
            sync = desire(sync, generation=generation, version=wanted, now_ms=now_ms, mode=target.mode)
        syncs[target.component] = sync
    if syncs == head.sync:
        return None
    raised = any(sync.desired == generation for sync in syncs.values())
    return replace(head, sync=syncs, generation=generation if raised else head.generation)


def receive(sync: Sync | None, receipt: Receipt, *, backoff: Backoff, now_ms: int, mode: Mode = "latest") -> Verdict:
    """What an attempt's receipt makes of the pair. `sync` is None when the pair has ended meanwhile."""
    if sync is None or _is_stale(sync, receipt, mode):
        return _STALE
    if receipt.result is Result.DELIVERED:
        return _delivered(sync, receipt, now_ms, mode)
    if mode == "latest" and receipt.generation < sync.desired:
        return _STALE
    attempts, error = sync.attempts + 1, receipt.error[:ERROR_CHARACTERS_MAX]
    if receipt.result is Result.FAILED:
        state, generation = SyncState.FAILED, receipt.generation
        failed = replace(sync, state=state, failed=generation, attempts=attempts, next_retry_ms=0, last_error=error)
        return Verdict(failed, "failed", attempts=attempts)
    retry_ms = now_ms + backoff.delay_ms(attempts, receipt.retry_after_s)
    return Verdict(replace(sync, attempts=attempts, next_retry_ms=retry_ms, last_error=error), "retry", attempts=attempts)


def next_step(sync: Sync, now_ms: int) -> Step:
    """What the pair needs now."""
    if sync.state is not SyncState.BEHIND:
        return _NOTHING
    return Wait(sync.next_retry_ms) if sync.next_retry_ms > now_ms else _DELIVER


def _is_stale(sync: Sync, receipt: Receipt, mode: Mode) -> bool:
    if not sync.delivered < receipt.generation <= sync.desired or receipt.after > sync.delivered:
        return True
    # A failure is the outcome of its generation; a repeated attempt's answer that comes later is not another one.
    return sync.state is SyncState.FAILED if mode == "every" else receipt.generation <= sync.failed


def _delivered(sync: Sync, receipt: Receipt, now_ms: int, mode: Mode) -> Verdict:
    attempts = sync.attempts + 1
    if receipt.generation == sync.desired:
        settled = settle(sync, now_ms=now_ms)
        return Verdict(settled, "delivered", settled.superseded - sync.superseded, attempts)
    covered = min(receipt.covers, sync.pending - 1)  # the desired generation itself is still pending
    if mode == "latest" and covered < 1:
        return _STALE  # a receipt that overlapped this one has settled its generation
    superseded = max(covered - 1, 0)
    partly = replace(
        sync,
        delivered=receipt.generation,
        pending=sync.pending - covered,
        superseded=sync.superseded + superseded,
        deliveries=sync.deliveries + 1,
    )
    if mode == "every":  # the attempts were this version's; the next one begins anew
        return Verdict(replace(partly, attempts=0, next_retry_ms=0, last_error=""), "delivered", superseded, attempts)
    return Verdict(partly, "delivered", superseded, 1)
