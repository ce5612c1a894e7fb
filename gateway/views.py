"""What the HTTP API answers, as pydantic models: what OpenAPI shows. Times are RFC 3339 in UTC. How they are filled: `operations/`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

State = Literal["in_sync", "behind", "failed"]
KeptAs = Literal["malformed", "parked", "queued"]
HoldVerb = Literal["hold", "pause", "halt"]


def rfc3339(ms: int) -> str | None:
    """None for 0, which stands for "never" in the tables."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if ms else None


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class HoldView(Answer):
    """Why nothing is delivered. No artifacts: of all; no component: to all. Made by a principal, or by a policy, the `rule`."""

    id: str
    verb: HoldVerb
    artifacts: list[str]
    component: str
    principal: str
    rule: str
    reason: str
    since: str | None


class PairView(Answer):
    """One component and one artifact: desired against delivered. `since` is when it left, or came into, `in_sync`.

    `held`: no attempt begins, because of this hold; what is behind waits for its release.
    """

    state: State
    version: str
    desired: int
    delivered: int
    since: str | None
    attempts: int
    next_retry: str | None
    last_error: str
    deliveries: int
    superseded: int
    held: HoldView | None


class ProvenanceView(Answer):
    """The accepted event that made the current state, and which cluster it came from."""

    source: str
    id: str
    type: str
    principal: str
    cluster: str
    at: str | None
    token: str


class ArtifactView(Answer):
    key: str
    kind: str
    name: str
    version: str
    digest: str | None
    newest: str
    generation: int
    action: str
    accepted: int
    parked: int
    holds: list[HoldView]
    provenance: ProvenanceView
    sync: dict[str, PairView]


class VersionView(Answer):
    version: str
    digest: str | None
    generation: int
    action: str
    accepted_at: str | None
    principal: str
    door: str


class ComponentView(Answer):
    """One component and how far it is. `oldest` is its pair that has been out of step longest.

    `holds` stop all its deliveries; so many others stop those of some artifacts.
    """

    name: str
    description: str
    sink: str
    target: str
    in_flight_max: int
    routes: list[str]
    in_step: bool
    in_sync: int
    behind: int
    failed: int
    delivered: int
    superseded: int
    oldest: str | None
    oldest_since: str | None
    oldest_s: float
    holds: list[HoldView]
    holds_of_artifacts: int


class OutOfStepView(PairView):
    artifact: str
    component: str


class QuarantineView(Answer):
    """`waived` are rules that releases of this entry have overridden so far."""

    artifact: str
    id: str
    kept: KeptAs
    reason: str
    detail: str
    rule: str
    waived: list[str]
    principal: str
    size_bytes: int
    at: str | None


class QuarantineSummary(Answer):
    """What is in quarantine. `since` is when the artifact that has been parked longest was; `shown` are the first entries but queued ones."""

    entries: int
    by_reason: dict[str, int]
    parked_artifacts: int
    since: str | None
    shown: list[QuarantineView]


class OutcomeView(Answer):
    outcome: str
    at: str | None
    principal: str
    type: str
    artifact: str
    version: str
    digest: str
    generation: int
    component: str
    code: str
    detail: str
    rule: str
    audit_id: str


class EventView(Answer):
    """What became of an event, oldest first; for one that was accepted, how far its artifact is with each component now."""

    source: str
    id: str
    outcomes: list[OutcomeView]
    artifact: str
    sync: dict[str, PairView]


class TakenEvent(Answer):
    """JetStream has it on disk. With `duplicate` it had it before."""

    source: str
    id: str
    artifact: str
    duplicate: bool
    token: str
    location: str


class EventsTaken(Answer):
    items: list[TakenEvent]


class OperationView(Answer):
    """A manual sync. `pending`: not all partitions have taken its commands; `failed`: nothing is under way, some pairs have failed."""

    id: str
    state: Literal["pending", "running", "done", "failed"]
    principal: str
    reason: str
    at: str | None
    artifact: str
    component: str
    wanted_state: str
    commands: int
    partitions_waiting: list[int]
    in_sync: int
    behind: int
    failed: int
    tokens: list[str]


class PartitionView(Answer):
    partition: int
    applied: int
    end: int


class RestoreView(Answer):
    """`eta_s` is None while the rate is not known yet."""

    ready: bool
    applied: int
    end: int
    remaining: int
    eta_s: float | None
    partitions: list[PartitionView]


class StatusView(Answer):
    """Everything on the status page."""

    cluster: str
    at: str
    in_step: bool
    artifacts: dict[str, int]
    outcomes: dict[str, int]
    components: list[ComponentView]
    most_out_of_step: list[OutOfStepView]
    holds: list[HoldView]
    holds_more: int
    quarantine: QuarantineSummary
    replica: RestoreView


class ArtifactsPage(Answer):
    items: list[ArtifactView]
    next_cursor: str | None


class VersionsPage(Answer):
    items: list[VersionView]
    next_cursor: str | None


class ComponentsPage(Answer):
    items: list[ComponentView]
    next_cursor: str | None


class OutOfStepPage(Answer):
    items: list[OutOfStepView]
    next_cursor: str | None


class LiveView(Answer):
    """`checks` is `ok` or the reason, by name."""

    live: bool
    checks: dict[str, str]


class DecisionView(Answer):
    """`rule` is what decided, e.g. `binding charts -> role chart-publisher, rule 0`; empty where no rule allows it."""

    verb: str
    allowed: bool
    rule: str


class AuthzView(Answer):
    """Decisions about one resource, in the order in which the verbs are documented."""

    principal: str
    type: str
    artifact: str
    component: str
    environment: str
    items: list[DecisionView]
