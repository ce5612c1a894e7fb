"""What one component still needs of one partition: which artifact may be attempted now, and when to look again. No I/O of its own.

The state says what is to be done; this only remembers where to look. Whatever is lost here is found again by a scan, so each
container is bounded and a full one asks for a scan instead of growing. An artifact is in at most one attempt at a time.
What is held waits aside, costs nothing, and is looked at again whenever other holds than before are in effect.

An attempt's receipt takes effect with a later commit. Until then the state still asks for what was just done, so a note says
what the component is known to have; in mode `every` the next version goes out at once on the strength of it. A note that no
commit has confirmed in time is dropped: the receipt was lost, and the delivery is repeated.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import islice

import msgspec

from agents.hold_watch import HoldWatch
from agents.routing import Mode, Routing
from agents.sinks.base import PartitionView, Receipt, Result
from agents.sync_state import Deliver, Wait, next_step
from tables.model import Head, Sync

READY_MAX = 10_000
WAITING_MAX = 10_000
HELD_MAX = 10_000
SCAN_SLICE = 128
#: In one `take`, so that others on the loop have their turn while many are held.
EXAMINED_MAX = 1000
#: Longer than any transaction lives, so a note is dropped only when its receipt can no longer be committed.
CONFIRM_MS_MAX = 60_000


class Due(msgspec.Struct, frozen=True):
    """An artifact that needs an attempt now. `after` is the generation that the component is known to have."""

    artifact: str
    mode: Mode
    sync: Sync
    after: int


class _Note(msgspec.Struct):
    """What a receipt that is on its way will say. `blocks`: no further attempt before the state has changed from `seen`."""

    after: int
    delivered: bool
    blocks: bool
    seen: Sync
    until_ms: int


class Backlog:
    def __init__(self, view: PartitionView, component: str, routing: Routing, watch: HoldWatch) -> None:
        self.view = view
        self._component = component
        self._routing = routing
        self._watch = watch
        self._ready: dict[str, bool] = {}  # in order of arrival; True: its backoff is over, whatever the state says
        self._waiting: dict[str, int] = {}
        self._timers: list[tuple[int, str]] = []  # heap; an entry counts if `_waiting` has the same time
        self._held: dict[str, None] = {}
        self._held_beyond = False  # more are held than `_held` has room for
        self._notes: dict[str, _Note] = {}  # in order of `until_ms`
        self._under_way: dict[str, bool] = {}  # True: it was to be looked at meanwhile
        self._scanned: str | None = ""  # the last artifact that the scan has seen; None: nothing to scan
        self._rescan_ms: int | None = None

    def __len__(self) -> int:
        """Artifacts known to need something, now or later."""
        return len(self._ready) + len(self._waiting) + len(self._held)

    @property
    def is_scanning(self) -> bool:
        return self._scanned is not None

    @property
    def has_more(self) -> bool:
        """Whether `take`, which found nothing, should be called again soon."""
        return self.is_scanning or bool(self._ready)

    @property
    def held(self) -> int:
        """Artifacts that wait aside because they are held."""
        return len(self._held)

    def changed(self, artifacts: Iterable[str]) -> None:
        for artifact in artifacts:
            if self._routing.target(artifact, self._component) is not None:
                self._look_at(artifact)

    def rescan(self) -> None:
        """Start over from the state alone, for instance after a transaction was given up and its receipts with it."""
        self._ready.clear()
        self._waiting.clear()
        self._timers.clear()
        self._held.clear()
        self._notes.clear()
        self._scanned, self._rescan_ms, self._held_beyond = "", None, False

    def hurry(self) -> None:
        """The component is back: those that wait for their next attempt need not wait longer."""
        self._ready = dict.fromkeys(self._ready, True)
        for artifact in self._waiting:
            self._look_at(artifact, hurry=True)
        self._waiting.clear()
        self._timers.clear()

    def holds_changed(self) -> None:
        """Other holds than before are in effect: what was held may not be any more."""
        held, self._held = self._held, {}
        for artifact in held:
            self._look_at(artifact)
        if self._held_beyond:
            self._scanned, self._held_beyond = "", False

    def take(self, now_ms: int) -> Due | None:
        """The next artifact to attempt; None if there is none now, or not among the next few: see `has_more`. Ends with `finished`."""
        self._wake(now_ms)
        if not self._ready and self.is_scanning:
            self._scan()
        for artifact in list(islice(self._ready, EXAMINED_MAX)):
            due = self._examine(artifact, now_ms, hurry=self._ready.pop(artifact))
            if due is not None:
                self._under_way[artifact] = False
                return due
        return None

    def finished(self, due: Due, receipt: Receipt | None, now_ms: int) -> None:
        """The attempt is over; without a receipt it is as if it had not been made."""
        was_asked = self._under_way.pop(due.artifact, False)
        delivered = receipt is not None and receipt.result is Result.DELIVERED
        if was_asked or receipt is None or not delivered or receipt.generation < due.sync.desired:
            self._look_at(due.artifact)  # else nothing is left until a commit has changed it
        if receipt is not None:
            after = receipt.generation if delivered else due.after
            self._notes.pop(due.artifact, None)
            blocks = not delivered or due.mode == "latest"
            self._notes[due.artifact] = _Note(after, delivered, blocks, due.sync, now_ms + CONFIRM_MS_MAX)

    def due_ms(self) -> int | None:
        """When to call `take` again although nothing changed; None: never."""
        times = [self._timers[0][0]] if self._timers else []
        if self._rescan_ms is not None:
            times.append(self._rescan_ms)
        if self._notes:
            times.append(next(iter(self._notes.values())).until_ms)
        return min(times, default=None)

    def _look_at(self, artifact: str, *, hurry: bool = False) -> None:
        if artifact in self._ready:
            return
        if len(self._ready) >= READY_MAX:
            self._scanned = ""
            return
        self._ready[artifact] = hurry

    def _wake(self, now_ms: int) -> None:
        while self._timers and self._timers[0][0] <= now_ms:
            due_ms, artifact = heapq.heappop(self._timers)
            if self._waiting.get(artifact) == due_ms:
                del self._waiting[artifact]
                self._look_at(artifact)
        if self._rescan_ms is not None and self._rescan_ms <= now_ms:
            self._scanned, self._rescan_ms = "", None
        while self._notes:
            artifact, note = next(iter(self._notes.items()))
            if note.until_ms > now_ms:
                break
            del self._notes[artifact]
            self._look_at(artifact)

    def _scan(self) -> None:
        """Look at one slice of the partition, so that nobody else on the loop waits for the whole of it."""
        assert self._scanned is not None
        heads = list(islice(self.view.heads(self._scanned), SCAN_SLICE))
        self._scanned = heads[-1][0] if len(heads) == SCAN_SLICE else None
        for artifact, head in heads:
            if self._needs(head):
                self._look_at(artifact)

    def _needs(self, head: Head) -> bool:
        sync = head.sync.get(self._component)
        return sync is not None and sync.delivered < sync.desired

    def _examine(self, artifact: str, now_ms: int, *, hurry: bool) -> Due | None:
        if artifact in self._under_way:
            self._under_way[artifact] = True  # `finished` looks at it again
            return None
        if self._watch.holds.blocks(artifact, self._component) is not None:
            self._hold(artifact)
            return None
        self._waiting.pop(artifact, None)
        head = self.view.head(artifact)
        sync = head.sync.get(self._component) if head is not None else None
        target = self._routing.target(artifact, self._component)
        if sync is None or target is None:
            self._notes.pop(artifact, None)
            return None
        after = self._known_delivered(artifact, sync, target.mode)
        if after is None or after >= sync.desired:
            return None
        step = next_step(sync, now_ms)
        if isinstance(step, Wait) and not hurry:
            self._wait(artifact, step.until_ms)
            return None
        return Due(artifact, target.mode, sync, after) if isinstance(step, Wait | Deliver) else None

    def _known_delivered(self, artifact: str, sync: Sync, mode: Mode) -> int | None:
        """The generation that the component has; None while a receipt that decides about the next step is on its way."""
        note = self._notes.get(artifact)
        if note is None:
            return sync.delivered
        if note.blocks and not _confirmed(note, sync, mode):
            return None
        if note.blocks or sync.delivered >= note.after:
            del self._notes[artifact]
        return max(sync.delivered, note.after)

    def _hold(self, artifact: str) -> None:
        if len(self._held) < HELD_MAX:
            self._held[artifact] = None
        else:
            self._held_beyond = True

    def _wait(self, artifact: str, until_ms: int) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._rescan_ms = min(until_ms, self._rescan_ms or until_ms)
            return
        self._waiting[artifact] = until_ms
        heapq.heappush(self._timers, (until_ms, artifact))


def _confirmed(note: _Note, sync: Sync, mode: Mode) -> bool:
    """Whether the state has what the receipt said, or has moved on so that the receipt is of no interest."""
    if note.delivered or sync.delivered < note.after:
        return sync.delivered >= note.after
    seen = note.seen
    news = (sync.state, sync.next_retry_ms) != (seen.state, seen.next_retry_ms)
    return news or (mode == "latest" and sync.desired != seen.desired)
