"""/v1/artifacts: keys are one percent-encoded segment, e.g. /v1/artifacts/chart%2Fargo-cd."""

from __future__ import annotations

from gateway import cursors
from gateway.operations import artifacts
from gateway.questions import ArtifactsQuery, PageQuery
from gateway.registry import Call, Read, Registry, Reply
from gateway.views import ArtifactsPage, ArtifactView, VersionsPage

routes = Registry("artifacts")


@routes.get("/v1/artifacts", verbs=("read",), judged=True, refusals=(503,))
async def list_artifacts(call: Call, query: ArtifactsQuery) -> Reply[ArtifactsPage]:
    """List artifacts that the caller may read, in key order, filtered and paged."""
    page = artifacts.list_artifacts(call.context, query, call.may("read"))
    return Reply(page, cursors.link(call.request, page.next_cursor))


@routes.get("/v1/artifacts/{key}", verbs=("read",), artifact="key", refusals=(404, 503))
async def get_artifact(call: Call, key: str, query: Read) -> Reply[ArtifactView]:
    """One artifact: its state, where it came from, and how far each component is.

    The entity tag changes with every change of the answer; with `If-None-Match` an answer that has not changed is a 304.
    """
    etag, view = artifacts.get_artifact(call.context, key)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if etag in _tags(call.request.headers.get("If-None-Match", "")):
        return Reply(None, headers, 304)
    return Reply(view, headers)


@routes.get("/v1/artifacts/{key}/versions", verbs=("read",), artifact="key", refusals=(404, 503))
async def list_versions(call: Call, key: str, query: PageQuery) -> Reply[VersionsPage]:
    """Versions of an artifact in the order in which they were accepted."""
    page = artifacts.list_versions(call.context, key, query)
    return Reply(page, cursors.link(call.request, page.next_cursor))


def _tags(if_none_match: str) -> set[str]:
    """RFC 9110 8.8.3.2: weak comparison, so a `W/` does not matter."""
    return {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
