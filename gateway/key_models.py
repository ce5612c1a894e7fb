"""API keys over HTTP: what callers may ask, and what they are answered. How it is done: `operations/keys.py`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.questions import PageQuery, Request
from gateway.views import Answer
from streams.settings import Name, Verb

DAY_S = 86_400
KeyState = Literal["good", "expired", "revoked"]


class KeysQuery(PageQuery):
    principal: str = Field("", max_length=64)
    state: KeyState | None = None


class KeyRequest(Request):
    principal: Name
    scopes: tuple[Verb, ...] = Field((), description="What the key may be used for; none is all that its principal may.")
    expires_in_s: int = Field(90 * DAY_S, ge=60, le=366 * DAY_S)
    description: str = Field("", max_length=200)


class RotateRequest(Request):
    """The old key stays good for `overlap_s`, or until it expires, if that is earlier."""

    overlap_s: int = Field(DAY_S, ge=0, le=30 * DAY_S)
    expires_in_s: int = Field(90 * DAY_S, ge=60, le=366 * DAY_S)


class RevokeRequest(Request):
    reason: str = Field("", max_length=500, description="For the audit trail.")


class KeyView(Answer):
    """`origin`: `configuration` for keys that syncmaster.yaml refers to; those are changed there."""

    id: str
    principal: str
    state: KeyState
    scopes: list[str]
    origin: Literal["configuration", "log"]
    created: str | None
    created_by: str
    expires: str | None
    revoked: str | None
    description: str


class NewKeyView(KeyView):
    key: str = Field(description="The key itself, now and never again.")
    replaces: str = ""


class KeysPage(Answer):
    items: list[KeyView]
    next_cursor: str | None
