"""/v1/audit: what happened, who did it, and which rule decided."""

from __future__ import annotations

from gateway import cursors, tokens
from gateway.audit_models import AuditPage, AuditQuery, Reindexing
from gateway.operations import audit
from gateway.registry import Call, Registry, Reply

routes = Registry("audit")


@routes.get("/v1/audit", verbs=("audit",), judged=True, refusals=(422, 503))
async def search_audit(call: Call, query: AuditQuery) -> Reply[AuditPage]:
    """Records that the caller may audit, newest first: by artifact, principal, decision, rule, time and text.

    422 is a question that takes too long. Whether the audit is whole is told by `syncmaster audit verify`.
    """
    await tokens.wait_audited(call.context, query.min_token)
    page = await audit.search_audit(call.context, query, call.may("audit"))
    return Reply(page, cursors.link(call.request, page.next_cursor))


@routes.post("/v1/audit/reindex", verbs=("admin",), status=202)
async def reindex_audit(call: Call) -> Reindexing:
    """Have this gateway build its index of the audit anew, from the topic. Until it is done, as `/readyz` tells, this gateway is not ready."""
    audit.reindex(call.context)
    return Reindexing()
