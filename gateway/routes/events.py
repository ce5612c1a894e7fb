"""/v1/events: the HTTP door for CloudEvents 1.0, and what became of an event."""

from __future__ import annotations

from gateway import tokens
from gateway.operations import events
from gateway.problems import Problem
from gateway.questions import EventQuery
from gateway.registry import Call, Registry, Reply
from gateway.serving import read_body
from gateway.views import EventsTaken, EventView
from streams.codec import door_headers
from streams.events import Incoming

routes = Registry("events")
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


@routes.post(
    "/v1/events",
    verbs=("publish",),
    judged=True,
    status=202,
    refusals=(408, 429, 503),
    accepts=(STRUCTURED, BATCH, "application/json"),
)
async def publish_events(call: Call) -> Reply[EventsTaken]:
    """Publish one CloudEvent (structured or binary mode) or a batch, as the principal of the API key.

    202 means that NATS JetStream has acknowledged every event. A refused event (4xx) is not kept. After a 503 send it again as it is:
    an event that was taken already is told as `duplicate`.
    """
    headers = door_headers(call.request.headers)
    _require_media_type(call.request.content_type, headers)
    taken = await events.publish_events(call.context, call.principal, Incoming(await read_body(call.request), headers))
    return Reply(taken, {"Location": taken.items[0].location} if len(taken.items) == 1 else {})


@routes.get("/v1/events/{source}/{id}", verbs=("read", "publish"), judged=True, refusals=(404, 503))
async def get_event(call: Call, source: str, id: str, query: EventQuery) -> EventView:  # noqa: A002 -- as in the path
    """What became of an event. Everybody sees their own, and those about artifacts that they may read."""
    await tokens.wait_audited(call.context, query.min_token)
    return events.get_event(call.context, source, id, principal=query.principal, caller=call.principal, may_read=call.may("read"))


def _require_media_type(content_type: str, headers: dict[str, str]) -> None:
    """Binary mode takes any: there it is the data's, which the codec judges."""
    if "ce-specversion" not in headers and content_type not in (STRUCTURED, BATCH):
        raise Problem(415, "body.media_type", f"this path takes {STRUCTURED}, {BATCH}, or binary mode with ce-* headers")
