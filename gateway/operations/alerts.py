"""The last alerts, newest first."""

from __future__ import annotations

from agents.authz import May, Resource
from gateway import cursors
from gateway.alert_models import AlertsPage, AlertsQuery, AlertView
from gateway.context import Context
from gateway.problems import Unavailable
from gateway.views import rfc3339
from streams.alerts import Alert


def list_alerts(context: Context, query: AlertsQuery, may_read: May) -> AlertsPage:
    """Those about what may be read; an alert about nothing in particular is for those who may read everything."""
    if not context.alerts.ready:
        raise Unavailable("alerts.restoring", "this gateway has not read the alerts topic to its end yet; try again")
    items: list[AlertView] = []
    last = None
    for offset, alert in context.alerts.newest_first(_place(query.cursor)):
        if len(items) == query.limit:
            return AlertsPage(items=items, next_cursor=cursors.encode(str(last).encode()))
        if _wanted(alert, query) and may_read(Resource(artifact=alert.artifact, component=alert.component)):
            items.append(_view(alert))
        last = offset
    return AlertsPage(items=items, next_cursor=None)


def _place(cursor: str) -> int | None:
    place = cursors.decode(cursor)
    if place is not None and not (place.isdigit() and len(place) < 19):
        raise cursors.malformed()
    return None if place is None else int(place)


def _wanted(alert: Alert, query: AlertsQuery) -> bool:
    asked = ((query.rule, alert.rule), (query.artifact, alert.artifact), (query.component, alert.component))
    return all(wish in ("", found) for wish, found in (*asked, (query.severity or "", alert.severity)))


def _view(alert: Alert) -> AlertView:
    return AlertView(
        id=alert.id,
        at=rfc3339(alert.at_ms),
        rule=alert.rule,
        severity=alert.severity,
        artifact=alert.artifact,
        component=alert.component,
        principal=alert.principal,
        summary=alert.summary,
        next_step=alert.next_step,
        labels=alert.labels,
    )
