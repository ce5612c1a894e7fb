"""Errors as RFC 9457 problems: what a caller gets for each thing that can go wrong. Where they are raised: everywhere else.

Operations raise `streams.errors` (and the two below), so that another door could tell them in its own way; `problem_for` is HTTP's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from streams.errors import NotAllowed, Refusal, Retriable

MEDIA_TYPE = "application/problem+json"


class NotFound(Refusal):
    """It is not there, and this replica would know."""


class Unavailable(Retriable):
    """Not now. `code` tells which part is not there yet."""

    def __init__(self, code: str, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail, retry_after_s)
        self.code = code


class Problem(Exception):
    """An answer of 4xx or 5xx. `code` is stable and machine readable; `members` are further members of the problem."""

    def __init__(self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def document(self, instance: str) -> dict[str, Any]:
        return {
            "type": f"urn:syncmaster:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
        } | self.members

    def response(self, request: web.Request) -> web.Response:
        body = json.dumps(self.document(request.rel_url.raw_path), ensure_ascii=False)
        return web.Response(status=self.status, text=body, content_type=MEDIA_TYPE, headers=self.headers)


def problem_for(error: Exception) -> Problem | None:
    """The problem that tells a caller about `error`; None when it is nothing that was foreseen."""
    match error:
        case Problem():
            return error
        case web.HTTPException():
            return _of_aiohttp(error)
        case Refusal():
            status = 404 if isinstance(error, NotFound) else 403 if isinstance(error, NotAllowed) else 422
            return Problem(status, error.code, error.detail)
        case Retriable():
            code = error.code if isinstance(error, Unavailable) else "unavailable"
            return unavailable(code, str(error), error.retry_after_s)
    return None


def unavailable(code: str, detail: str, retry_after_s: float | None = None, status: int = 503, **members: Any) -> Problem:
    seconds = max(1, round(retry_after_s or 1.0))
    return Problem(status, code, detail, headers={"Retry-After": str(seconds)}, **members)


def invalid(code: str, status: int, what: str, error: ValidationError) -> Problem:
    """What pydantic found, as members that name the place. Values are not repeated: they may be anything."""
    violations = [
        {"at": ".".join(str(part) for part in found["loc"]), "message": found["msg"]}
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    places = "; ".join(f"{v['at']}: {v['message']}" if v["at"] else v["message"] for v in violations[:3])
    return Problem(status, code, f"the {what} is not valid: {places}", violations=violations)


def _of_aiohttp(error: web.HTTPException) -> Problem | None:
    match error:
        case web.HTTPNotFound():
            return Problem(404, "path.unknown", "there is no such path; /openapi.json lists those that there are")
        case web.HTTPMethodNotAllowed():
            allow = ", ".join(sorted(error.allowed_methods))
            return Problem(405, "method.not_allowed", f"this path takes {allow}", headers={"Allow": allow})
        case web.HTTPRequestEntityTooLarge():
            return Problem(413, "body.too_large", "the body is larger than this server takes")
        case _ if error.status >= 400:
            return Problem(error.status, "request.refused", error.reason)
    return None
