"""Holds over HTTP: what callers may ask, and what they are answered. How it is done: `operations/holds.py`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from gateway.questions import PageQuery, Request
from gateway.views import Answer, HoldVerb, HoldView
from streams.settings import Name, Pattern

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


class HoldsQuery(PageQuery):
    artifact: str = Field("", max_length=1024, description="Only those that stop deliveries of this artifact.")
    component: str = Field("", max_length=64, description="Only those that stop deliveries to this component.")
    verb: HoldVerb | None = None


class HoldRequest(Request):
    """Stop deliveries: of artifacts (`hold`), to a component (`pause`), of these artifacts to that component or of everything (`halt`)."""

    artifacts: tuple[Pattern, ...] = Field((), max_length=100, description="Keys; `*` stands for any run of characters.")
    component: Name | None = None
    everything: Literal[True] | None = Field(None, description="Instead of both: nothing is delivered to anybody.")
    reason: Reason = Field(description="For whoever finds it, and for the audit trail.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.artifacts or self.component) == bool(self.everything):
            raise ValueError("give `artifacts`, `component` or both; or `everything` alone")
        return self

    @property
    def verb(self) -> HoldVerb:
        """What the caller must be allowed to do."""
        if self.artifacts and self.component is None:
            return "hold"
        return "halt" if self.artifacts or self.everything else "pause"


class ReleaseRequest(Request):
    reason: Reason = Field(description="For the audit trail.")


class HoldsPage(Answer):
    items: list[HoldView]
    next_cursor: str | None
