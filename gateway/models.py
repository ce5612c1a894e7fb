"""The shapes of the HTTP API, as pydantic models: what OpenAPI shows. Times are RFC 3339 in UTC. How they are filled: `operations/`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gateway.registry import Query, Read
from streams.settings import Name, Pattern

State = Literal["in_sync", "behind", "failed"]
Key = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


def rfc3339(ms: int) -> str | None:
    """None for 0, which stands for "never" in the tables."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if ms else None


# -- what is asked -----------------------------------------------------------------------------------------------------------


class PageQuery(Read):
    limit: int = Field(
        100, ge=1, le=1000, description="Most items of a page. A page may hold fewer; the last has no `next_cursor`."
    )
    cursor: str = Field("", max_length=4096, description="`next_cursor` of the page before, as it was.")


class ArtifactsQuery(PageQuery):
    kind: str = Field("", max_length=128, description="`chart`, `image`, `environment`, …")
    prefix: str = Field("", max_length=1024, description="Beginning of the key.")
    component: str = Field("", max_length=64, description="Only artifacts that are for this component.")
    state: State | None = Field(None, description="Only artifacts with a pair in this state (of `component`, if given).")


class SyncQuery(PageQuery):
    state: Literal["behind", "failed"] | None = None
    component: str = Field("", max_length=64)


class QuarantineQuery(PageQuery):
    prefix: str = Field(
        "", max_length=1024, description="Beginning of the artifact key; `unknown/<principal>` where none could be told."
    )
    principal: str = Field("", max_length=64)


class EventQuery(Read):
    principal: str = Field("", max_length=64, description="Only what this principal published under that source and id.")


class ReadyQuery(Query):
    verbose: str | None = Field(None, description="If given, one line per check as text.")


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Selector(Request):
    """Artifacts whose key matches `artifacts` and, if given, that have a pair for `component`, or in `state`."""

    artifacts: Pattern = "*"
    component: Name | None = None
    state: State | None = None


class SyncRequest(Request):
    """What to deliver again: exactly one of the three."""

    artifact: Key | None = None
    component: Name | None = None
    selector: Selector | None = None
    reason: str = Field("", max_length=500, description="For the audit trail.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(part is not None for part in (self.artifact, self.component, self.selector)) != 1:
            raise ValueError("give exactly one of `artifact`, `component` or `selector`")
        return self


# -- what is answered --------------------------------------------------------------------------------------------------------


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class PairView(Answer):
    """One component and one artifact: desired against delivered. `since` is when it left, or came into, `in_sync`."""

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
    holds: list[str]
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
    """One component and how far it is. `oldest` is its pair that has been out of step longest."""

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


class OutOfStepView(PairView):
    artifact: str
    component: str


class QuarantineView(Answer):
    artifact: str
    id: str
    reason: str
    detail: str
    rule: str
    principal: str
    at: str | None


class QuarantinedMessage(QuarantineView):
    """With the original: bytes as base64, headers as they came through the door."""

    ingress: str
    headers: dict[str, str]
    body_base64: str


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


class QuarantinePage(Answer):
    items: list[QuarantineView]
    next_cursor: str | None


class LiveView(Answer):
    """`checks` is `ok` or the reason, by name."""

    live: bool
    checks: dict[str, str]
