"""What callers ask of the audit over HTTP, and what they are answered."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from gateway.questions import PageQuery
from gateway.views import Answer

#: `tables.audit_record.Outcome`, as OpenAPI shows it.
Decision = Literal[
    "accepted", "refused", "quarantined", "duplicate", "delivered", "failed", "command", "configuration", "login_refused", "key"
]


class AuditQuery(PageQuery):
    """All that is given must hold."""

    artifact: str = Field("", max_length=1024, description="Its key; `*` matches any run of characters.")
    principal: str = Field("", max_length=64)
    decision: Decision | None = Field(None, description="What became of it.")
    rule: str = Field("", max_length=512, description="The rule that decided: a policy's name, or a binding's.")
    component: str = Field("", max_length=64)
    since: AwareDatetime | None = Field(None, description="RFC 3339; this moment and later.")
    until: AwareDatetime | None = Field(None, description="RFC 3339; before this moment.")
    text: str = Field("", max_length=500, description="Words, or beginnings of words; all of them must stand in the record.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since and self.until and self.since >= self.until:
            raise ValueError("`since` must be before `until`")
        return self


class AuditView(Answer):
    """One record. With `partition` and `seq` it is found in an export; `before` and `after` are digests of the artifact's state."""

    id: str
    partition: int
    seq: int
    at: str | None
    decision: str
    artifact: str
    principal: str
    remote: str
    source: str
    event_id: str
    type: str
    version: str
    digest: str
    generation: int
    component: str
    code: str
    detail: str
    rule: str
    config: str
    ingress: str
    superseded: int
    attempts: int
    command: str
    trace: str
    before: str
    after: str


class AuditPage(Answer):
    items: list[AuditView]
    next_cursor: str | None


class Reindexing(BaseModel):
    """`/readyz` says when it is done."""

    reindexing: bool = True
