"""Quarantine over HTTP: what callers may ask, and what they are answered. How it is done: `operations/quarantine.py`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from gateway.questions import PageQuery, Request
from gateway.views import Answer, KeptAs, QuarantineView
from streams.settings import Pattern

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
_KEPT = "`malformed`: it is no event; `parked`: a policy says so; `queued`: it waits behind one that is parked."


class QuarantineQuery(PageQuery):
    prefix: str = Field(
        "", max_length=1024, description="Beginning of the artifact key; `unknown/<principal>` where none could be told."
    )
    artifacts: Pattern = Field("*", description="What the artifact key matches; `*` stands for any run of characters.")
    principal: str = Field("", max_length=64)
    reason: str = Field("", max_length=128, description="The stable code, e.g. `json.invalid`.")
    rule: str = Field("", max_length=128, description="The policy that parked it; `decode` for what is malformed.")
    kept: KeptAs | None = Field(None, description=_KEPT)
    since: AwareDatetime | None = Field(None, description="Set aside at this time or later.")
    until: AwareDatetime | None = Field(None, description="Set aside at this time or before.")


class DecisionRequest(Request):
    reason: Reason = Field(description="For the audit trail.")


class FilterRequest(DecisionRequest):
    """Which entries: all that match everything given. Something has to be given; `{"artifacts": "*"}` is all of them."""

    artifacts: Pattern | None = None
    principal: str | None = Field(None, max_length=64)
    code: str | None = Field(None, max_length=128, description="The stable code of why it is in quarantine.")
    rule: str | None = Field(None, max_length=128)
    kept: KeptAs | None = Field(None, description=_KEPT)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.given:
            raise ValueError('say which entries; {"artifacts": "*"} is all of them')
        return self

    @property
    def given(self) -> dict[str, str]:
        """What was asked for, as words."""
        return {
            name: value.isoformat() if not isinstance(value, str) else value
            for name, value in self
            if value is not None and name != "reason"
        }


class QuarantinedMessage(QuarantineView):
    """With the original: bytes as base64, and as text where they are; headers as they came through the door.

    `position` counts from 0, the one that is parked, over `waiting` entries of the artifact; None for what is malformed. `source`,
    `event_id` and `type` as far as they can be told.
    """

    position: int | None
    waiting: int
    source: str
    event_id: str
    type: str
    ingress: str
    headers: dict[str, str]
    body_base64: str
    body_text: str | None


class QuarantinePage(Answer):
    items: list[QuarantineView]
    next_cursor: str | None


class QuarantineOperation(Answer):
    """A release or discard. `pending`: not all partitions have taken its commands; `running`: queues there are still being judged."""

    id: str
    verb: Literal["release", "discard"]
    state: Literal["pending", "running", "done"]
    principal: str
    reason: str
    at: str | None
    about: str
    entries: int
    partitions_waiting: list[int]
    tokens: list[str]
