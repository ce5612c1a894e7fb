"""The state, as it stands in the changelogs: heads, versions, quarantined messages, markers, and the keys of each.

Values are JSON written by msgspec (defaults left out), so that any replica can read them; keys are UTF-8, parts divided by NUL,
which no artifact key, version or component can contain. The same bytes are in the changelog and in RocksDB.
Changing a field: add with a default, never rename; see docs/decisions.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from streams.events import Action
from streams.ingress import Mark

SEP = b"\x00"
#: Reserved key in the changelog of `artifacts`: one marker per partition. Sorts before every artifact key.
MARKER_KEY = b"\x00marker"
#: Reserved in the changelog of `quarantine`: a `Lot` under this and the artifact's key. Sorts before every artifact key too.
LOT_PREFIX = b"\x00lot\x00"
#: Ids of parked entries begin so: a scan finds them without the malformed ones of the same artifact, in the order in which they wait.
PARKED_PREFIX = "parked-"


class SyncState(StrEnum):
    """State of one (artifact, component) pair. The machine is `agents/sync_state.py`."""

    IN_SYNC = "in_sync"
    BEHIND = "behind"
    FAILED = "failed"


class Sync(msgspec.Struct, omit_defaults=True, gc=False):
    """Desired against delivered for one component. All times are epoch milliseconds."""

    desired: int = 0  # generation
    delivered: int = 0  # generation
    version: str = ""  # the version that `desired` means
    state: SyncState = SyncState.BEHIND
    since_ms: int = 0  # when it left in_sync, or came into it
    attempts: int = 0  # of the current desired generation
    next_retry_ms: int = 0  # 0: at once
    last_error: str = ""  # cut to 200 characters
    pending: int = 0  # desired generations since the last delivery; all but the last are superseded by it
    superseded: int = 0  # ever
    deliveries: int = 0  # ever; distinct generations
    command: str = ""  # id of the last manual sync that touched this pair
    failed: int = 0  # generation of the last permanent answer


class Provenance(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """Of the accepted event that made the current state."""

    id: str
    source: str
    type: str
    principal: str
    stream: str
    mark: Mark
    ingress_ms: int
    cluster: str
    time: str | None = None
    hlc: str = ""  # hybrid logical clock, `<ms>.<counter>@<cluster>`


class Head(msgspec.Struct, omit_defaults=True, gc=False):
    """Table `artifacts`: key `<kind>/<name>`. Bounded at limits.head_bytes_max."""

    version: str
    digest: str | None
    generation: int
    provenance: Provenance
    action: Action = Action.PUBLISHED
    newest: str = ""  # greatest version by SemVer among those accepted and not deleted
    sync: dict[str, Sync] = {}
    taken_hashes: str = ""  # of the newest taken (principal, source, id), oldest first, bounded: `agents/dedup.py`
    accepted: int = 0  # events ever accepted
    state: str = ""  # `audit_record.state_digest` of it: what the next record in its audit was before
    has_deleted: bool = False  # a deletion was accepted: `newest` may have been lower since than it once was
    holds: list[str] = []


class Version(msgspec.Struct, omit_defaults=True, gc=False):
    """Table `versions`: key `<artifact key> NUL <version>`. Holds the event as it was accepted: what a delivery sends."""

    generation: int
    digest: str | None
    action: Action
    ingress: str  # the `sm-ingress` header
    headers: dict[str, str]  # `ce-*` and content-type as received
    body: msgspec.Raw  # the original body, if it is JSON; else a JSON string of base64 (`body_is_base64`)
    body_is_base64: bool = False
    accepted_ms: int = 0
    taken_hashes: str = ""  # of the (principal, source, id) that were folded into this version, bounded


class Kept(StrEnum):
    """Why an entry is in quarantine."""

    MALFORMED = "malformed"  # it is no event; it holds up nothing
    PARKED = "parked"  # a policy said so; later events of its artifact wait behind it
    QUEUED = "queued"  # it waits, not judged yet


class Quarantined(msgspec.Struct, omit_defaults=True, gc=False):
    """Table `quarantine`: key `<artifact key or unknown/principal> NUL <id>`.

    The id is `events-<partition>-<offset>` of a malformed one, `parked-<seq>` of the others, with the sequence number of the audit
    record that tells of it; zero padded, so that keys sort in order whatever becomes of the log's offsets.
    """

    reason: str  # stable code
    detail: str
    rule: str
    principal: str
    ingress: str
    headers: dict[str, str]
    body_base64: str  # ORIGINAL bytes
    at_ms: int
    kept: Kept = Kept.MALFORMED
    taken: str = ""  # hash of its (principal, source, id), but for malformed ones
    waived: list[str] = []  # rules that releases have overridden for this event

    @property
    def size_bytes(self) -> int:
        """Of the original body."""
        return len(self.body_base64) // 4 * 3 - self.body_base64[-2:].count("=")


class Lot(msgspec.Struct, omit_defaults=True, gc=False):
    """Table `quarantine`, key LOT_PREFIX + artifact key: that an artifact is parked, whether or not it has a head.

    Parked by the entry `front`, the others queue behind it. Without `front` and with some queued, the queue is being drained.
    """

    front: str = ""  # id of the entry that a policy parked
    rule: str = ""
    since_ms: int = 0
    queued: int = 0  # entries behind the front
    queued_bytes: int = 0
    command: str = ""  # id of the last release or discard; what comes out of the queue names it
    discarded: str = ""  # hashes of events discarded before the artifact had a head to remember them, oldest first, bounded

    @property
    def is_parked(self) -> bool:
        return bool(self.front or self.queued)

    @property
    def is_draining(self) -> bool:
        return not self.front and self.queued > 0


class ParkedCounts(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """Of one partition. `since_ms` is when the artifact that has been parked longest was."""

    artifacts: int = 0
    draining: int = 0
    since_ms: int = 0


class Marker(msgspec.Struct, omit_defaults=True, gc=False):
    """How far a partition is; written in every transaction. Work resumes from here and nowhere else."""

    turn: int = 0  # counts transactions of this partition
    events: int = 0  # next offset to read in [events]
    commands: int = 0  # next offset to read in [commands]
    marks: dict[str, Mark] = {}  # per stream: the last identity taken in this partition
    audit_seq: int = 0  # next sequence number in this partition's audit chain
    audit_head: str = ""  # hex SHA-256 of the last record of the chain
    routing: str = ""  # Settings.routing_hash that every head of this partition has been routed by
    routing_after: str = ""  # while a backfill scan runs: the last artifact key it has done
    hlc_ms: int = 0
    hlc_count: int = 0
    versions_turn: int = 0  # the last turn that wrote to `versions`: the stamp there must have reached it
    quarantine_turn: int = 0  # the same for `quarantine`
    quarantined: dict[str, int] = {}  # entries in quarantine by `<reason> <rule>`
    parked: ParkedCounts = ParkedCounts()
    holds: str = ""  # hash of the holds in effect when records for components that read the log were last settled
    held: bool = False  # some such record may be waiting for a release
    held_after: str | None = None  # while what was released is being settled: the last artifact key that is done
    config: str = ""  # Settings.config_hash that the last turn judged by; the audit has a record of each change
    last_event: str = ""  # the `sm-ingress` header of the record before `events`: whether the log is still the one that was read
    last_command: str = ""  # the same for `commands`: the command's id
    command_ms: int = 0  # the log's time of the newest command taken
    #: Commands below this offset and not newer than this time were taken before the log lost its tail.
    commands_again: tuple[int, int] = (0, 0)


class Stamp(msgspec.Struct, gc=False):
    """Under MARKER_KEY in `versions` and `quarantine`: the last turn that wrote to that table.

    The three changelogs are read independently of each other. A replica that has the marker of a turn may show it only once the
    stamps have reached the turns that the marker names; a changelog that lost its tail alone shows up as a stamp that never does.
    """

    turn: int


def version_key(artifact: str, version: str) -> bytes:
    return artifact.encode() + SEP + version.encode()


def quarantine_key(artifact: str, ident: str) -> bytes:
    return artifact.encode() + SEP + ident.encode()


def lot_key(artifact: str) -> bytes:
    return LOT_PREFIX + artifact.encode()


def split_key(key: bytes) -> tuple[str, str]:
    """(artifact key, version or id) of a key of `versions` or `quarantine`."""
    artifact, _, rest = key.partition(SEP)
    return artifact.decode(), rest.decode()
