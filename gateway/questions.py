"""What callers of the HTTP API may ask: query strings and bodies, as pydantic models. What they are answered: `views.py`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gateway.registry import Query, Read
from gateway.views import State
from streams.settings import Name, Pattern, Verb

Key = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


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


class EventQuery(Read):
    principal: str = Field("", max_length=64, description="Only what this principal published under that source and id.")


class AuthzQuery(Query):
    principal: str = Field("", max_length=64, description="About whom; default: the holder of the key.")
    verb: Verb | None = Field(None, description="Which verb; default: each of them.")
    type: str = Field("", max_length=512, description="An event's type.")
    artifact: str = Field("", max_length=1024, description="An artifact's key.")
    component: str = Field("", max_length=64)
    environment: str = Field("", max_length=64, description="Default: that of the artifact, then that of the component.")


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
