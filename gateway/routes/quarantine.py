"""/v1/quarantine: what was set aside, one with its original bytes, and what becomes of it."""

from __future__ import annotations

from agents.authz import Resource
from gateway import cursors
from gateway.operations import quarantine
from gateway.quarantine_models import (
    DecisionRequest,
    FilterRequest,
    QuarantinedMessage,
    QuarantineOperation,
    QuarantinePage,
    QuarantineQuery,
)
from gateway.registry import Call, Read, Registry, Reply

routes = Registry("quarantine")


@routes.get("/v1/quarantine", verbs=("read",), judged=True, refusals=(503,))
async def list_quarantine(call: Call, query: QuarantineQuery) -> Reply[QuarantinePage]:
    """Messages that could not be used or were parked, with the reason."""
    page = quarantine.list_quarantine(call.context, query, call.may("read"))
    return Reply(page, cursors.link(call.request, page.next_cursor))


@routes.get("/v1/quarantine/operations/{id}", verbs=("read", "quarantine"), judged=True, refusals=(404, 503))
async def get_quarantine_operation(call: Call, id: str, query: Read) -> QuarantineOperation:  # noqa: A002 -- as in the path
    """How far a release or discard is: one's own, or anybody's for those who may read everything."""
    operation = quarantine.get_operation(call.context, id)
    if operation.principal != call.principal:
        call.known.require("read", Resource())
    return operation


@routes.get("/v1/quarantine/{artifact}/{id}", verbs=("read", "quarantine"), artifact="artifact", refusals=(404, 503))
async def get_quarantined(call: Call, artifact: str, id: str, query: Read) -> QuarantinedMessage:  # noqa: A002 -- as in the path
    """One message with its original bytes, and where it stands among those that wait."""
    return quarantine.get_quarantined(call.context, artifact, id)


@routes.post("/v1/quarantine/release", verbs=("quarantine",), judged=True, status=202, refusals=(503,))
async def release_selected(call: Call, body: FilterRequest) -> Reply[QuarantineOperation]:
    """Release everything that a filter selects. Every entry must be the caller's to release; if one is not, nothing is ordered."""
    return _ordered(await quarantine.decide_all(call.context, call.known, "release", body, remote=call.remote))


@routes.post("/v1/quarantine/discard", verbs=("quarantine",), judged=True, status=202, refusals=(503,))
async def discard_selected(call: Call, body: FilterRequest) -> Reply[QuarantineOperation]:
    """Discard everything that a filter selects, for good. Every entry must be the caller's to discard; if one is not, nothing is ordered."""
    return _ordered(await quarantine.decide_all(call.context, call.known, "discard", body, remote=call.remote))


@routes.post(
    "/v1/quarantine/{artifact}/{id}/release", verbs=("quarantine",), artifact="artifact", status=202, refusals=(404, 503)
)
async def release_quarantined(
    call: Call,
    artifact: str,
    id: str,  # noqa: A002 -- as in the path
    body: DecisionRequest,
) -> Reply[QuarantineOperation]:
    """Judge a message again, by the configuration in force but for the rule that parked it; what waits behind it follows in order."""
    return await _decided(call, "release", artifact, id, body)


@routes.post(
    "/v1/quarantine/{artifact}/{id}/discard", verbs=("quarantine",), artifact="artifact", status=202, refusals=(404, 503)
)
async def discard_quarantined(
    call: Call,
    artifact: str,
    id: str,  # noqa: A002 -- as in the path
    body: DecisionRequest,
) -> Reply[QuarantineOperation]:
    """Discard a message for good; the audit keeps the digest of its bytes. What waits behind it is judged, in order."""
    return await _decided(call, "discard", artifact, id, body)


async def _decided(
    call: Call, verb: quarantine.Verb, artifact: str, ident: str, body: DecisionRequest
) -> Reply[QuarantineOperation]:
    about = {"artifact": artifact, "ident": ident, "reason": body.reason, "remote": call.remote}
    return _ordered(await quarantine.decide(call.context, call.known, verb, **about))


def _ordered(operation: QuarantineOperation) -> Reply[QuarantineOperation]:
    return Reply(operation, {"Location": f"/v1/quarantine/operations/{operation.id}"})
