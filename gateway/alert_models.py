"""What callers of /v1/alerts may ask, and what they are answered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.questions import PageQuery
from gateway.views import Answer


class AlertsQuery(PageQuery):
    rule: str = Field("", max_length=64, description="A policy's name, or one of SyncMaster's own, e.g. `stream.stopped`.")
    artifact: str = Field("", max_length=1024, description="An artifact's key.")
    component: str = Field("", max_length=64)
    severity: Literal["warning", "critical"] | None = None


class AlertView(Answer):
    id: str
    at: str | None
    rule: str
    severity: str
    artifact: str
    component: str
    principal: str
    summary: str
    next_step: str
    labels: dict[str, str]


class AlertsPage(Answer):
    items: list[AlertView]
    next_cursor: str | None
