"""/v1/alerts."""

from __future__ import annotations

from gateway import cursors
from gateway.alert_models import AlertsPage, AlertsQuery
from gateway.operations import alerts
from gateway.registry import Call, Registry, Reply

routes = Registry("alerts")


@routes.get("/v1/alerts", verbs=("read",), judged=True, refusals=(503,))
async def list_alerts(call: Call, query: AlertsQuery) -> Reply[AlertsPage]:
    """The last thousand alerts, newest first, those that were not forwarded because there were too many, too."""
    page = alerts.list_alerts(call.context, query, call.may("read"))
    return Reply(page, cursors.link(call.request, page.next_cursor))
