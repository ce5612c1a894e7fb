"""/v1/components."""

from __future__ import annotations

from gateway.operations import components
from gateway.registry import Call, Read, Registry
from gateway.views import ComponentsPage, ComponentView

routes = Registry("components")


@routes.get("/v1/components", verbs=("read",), judged=True, refusals=(503,))
async def list_components(call: Call, query: Read) -> ComponentsPage:
    """Every component, and how many of its pairs are in sync, behind and failed."""
    return components.list_components(call.context, call.may("read"))


@routes.get("/v1/components/{name}", verbs=("read",), component="name", refusals=(404, 503))
async def get_component(call: Call, name: str, query: Read) -> ComponentView:
    """One component."""
    return components.get_component(call.context, name)
