"""The console's view of the audit: a question as a form, the answer as a table; complete without JavaScript. The API: `routes/audit.py`."""

from __future__ import annotations

from typing import Any, get_args

from aiohttp import web
from pydantic import Field, ValidationError

from gateway.audit_models import AuditPage, AuditQuery, AuditView, Decision
from gateway.operations.audit import search_audit
from gateway.pages import HTML, html_page
from gateway.problems import invalid
from gateway.registry import Call, Query, Registry
from streams.errors import Refusal, Retriable

routes = Registry("audit page")
#: Shown in the columns of the table; everything else that a record has is in its details.
_COLUMNS = {"at", "decision", "artifact", "principal"}
_PLACE = {"partition", "seq"}
_TONES = {"accepted": "good", "delivered": "good", "duplicate": "", "command": "held", "configuration": "held", "key": "held"}


class AuditForm(Query):
    """As a browser sends it: what was left empty is empty text. Times are UTC."""

    text: str = Field("", max_length=500)
    artifact: str = Field("", max_length=1024)
    principal: str = Field("", max_length=64)
    component: str = Field("", max_length=64)
    rule: str = Field("", max_length=512)
    decision: str = Field("", max_length=32)
    since: str = Field("", max_length=40)
    until: str = Field("", max_length=40)
    cursor: str = Field("", max_length=4096)


@routes.get("/audit", verbs=("audit",), judged=True, produces=HTML)
async def show_audit(call: Call, query: AuditForm) -> web.Response:
    """What happened, newest first: a form, and what is found."""
    page, reason = AuditPage(items=[], next_cursor=None), ""
    try:
        page = await search_audit(call.context, _question(query), call.may("audit"))
    except ValidationError as exc:
        reason = invalid("query.invalid", 400, "question", exc).detail
    except (Refusal, Retriable) as exc:
        reason = getattr(exc, "detail", "") or str(exc)
    following = page.next_cursor and str(call.request.rel_url.update_query(cursor=page.next_cursor))
    return html_page(
        "audit.html",
        400 if reason else 200,
        {},
        cluster=call.context.settings.cluster,
        principal=call.principal,
        asked=query,
        decisions=get_args(Decision),
        rows=[(item, _TONES.get(item.decision, "bad"), _details(item)) for item in page.items],
        next=following,
        reason=reason,
    )


def _question(form: AuditForm) -> AuditQuery:
    given: dict[str, Any] = {name: value for name, value in form.model_dump().items() if value.strip()}
    for name in ("since", "until"):
        if name in given and not given[name].endswith("Z"):
            given[name] += "Z"
    return AuditQuery(**given)


def _details(item: AuditView) -> dict[str, Any]:
    found = item.model_dump(exclude=_COLUMNS)
    return {name: value for name, value in found.items() if name in _PLACE or value not in ("", None, 0)}
