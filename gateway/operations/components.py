"""Components, and how far each is in step."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from agents.authz import May, Resource
from gateway.context import Context
from gateway.operations.holds import hold_view
from gateway.problems import NotFound
from gateway.views import ComponentsPage, ComponentView, rfc3339
from streams.settings import Component, HttpSink, NatsSink, Sink


def get_component(context: Context, name: str) -> ComponentView:
    component = context.settings.components.get(name)
    if component is None:
        raise NotFound("component.unknown", "no component of this name is in the configuration")
    context.require_ready()
    return component_view(context, name, component)


def list_components(context: Context, may_read: May) -> ComponentsPage:
    """Those that may be read, in the order of the configuration."""
    context.require_ready()
    items = [view for view in component_views(context) if may_read(Resource(component=view.name))]
    return ComponentsPage(items=items, next_cursor=None)


def component_views(context: Context) -> list[ComponentView]:
    return [component_view(context, name, component) for name, component in context.settings.components.items()]


def component_view(context: Context, name: str, component: Component) -> ComponentView:
    counts = context.status.component(name)
    oldest = context.status.oldest(name)
    holds = context.watch.holds.of_component(name)
    return ComponentView(
        name=name,
        description=component.description,
        sink=component.sink.type,
        target=target(component.sink),
        in_flight_max=component.in_flight_max,
        routes=[route.name for route in context.settings.routes if name in route.to],
        in_step=counts.in_step,
        in_sync=counts.in_sync,
        behind=counts.behind,
        failed=counts.failed,
        delivered=counts.deliveries,
        superseded=counts.superseded,
        oldest=oldest.artifact if oldest else None,
        oldest_since=rfc3339(oldest.since_ms) if oldest else None,
        oldest_s=max(0.0, round(time.time() - oldest.since_ms / 1000, 3)) if oldest else 0.0,
        holds=[hold_view(hold) for hold in holds if not hold.artifacts],
        holds_of_artifacts=sum(bool(hold.artifacts) for hold in holds),
    )


def target(sink: Sink) -> str:
    """Where it goes, without what may be a secret: user, password and query of a URL."""
    match sink:
        case HttpSink(url=url):
            parts = urlsplit(url)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        case NatsSink(subject=subject, mode=mode):
            return f"{mode} {subject}"
    return "topic"
