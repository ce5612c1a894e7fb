"""Artifacts and their versions: one, or a page of them."""

from __future__ import annotations

import hashlib

from agents.authz import May, Resource
from gateway import cursors
from gateway.context import Context
from gateway.operations.holds import hold_view
from gateway.questions import ArtifactsQuery, PageQuery
from gateway.tokens import Token
from gateway.views import ArtifactsPage, ArtifactView, PairView, ProvenanceView, VersionsPage, VersionView, rfc3339
from streams.ingress import Ingress
from tables.model import Head, Provenance, Sync, SyncState, Version
from tables.queries import Filter


def get_artifact(context: Context, key: str) -> tuple[str, ArtifactView]:
    """The artifact and its entity tag: the generation, and a hash because deliveries, holds and parking move without it."""
    found = context.queries.artifact(key)
    if found is None:
        raise context.unknown("artifact.unknown", _unknown(context, key))
    view = artifact_view(context, key, found[1])
    return f'"{view.generation}-{hashlib.sha256(view.model_dump_json().encode()).hexdigest()[:16]}"', view


def _unknown(context: Context, key: str) -> str:
    lot = context.queries.lot(key)
    waits = "; some wait in quarantine, see /v1/quarantine" if lot is not None and lot.is_parked else ""
    return f"no event about this artifact has been accepted{waits}"


def list_artifacts(context: Context, query: ArtifactsQuery, may_read: May) -> ArtifactsPage:
    """Those that may be read, in key order."""
    context.require_ready()
    wanted = Filter(query.kind, query.prefix, query.component, SyncState(query.state) if query.state else None)
    page = context.queries.artifacts(
        wanted,
        after=cursors.decode(query.cursor),
        limit=query.limit,
        visible=lambda key: may_read(Resource(artifact=key)),
    )
    items = [artifact_view(context, row.key, row.head) for row in page.rows]
    return ArtifactsPage(items=items, next_cursor=cursors.encode(page.after))


def list_versions(context: Context, key: str, query: PageQuery) -> VersionsPage:
    """In the order in which they were accepted."""
    if context.queries.artifact(key) is None:
        raise context.unknown("artifact.unknown", "no event about this artifact has been accepted")
    place = cursors.decode(query.cursor)
    if place is not None and not (place.isdigit() and len(place) < 19):
        raise cursors.malformed()
    rows, after = context.queries.versions(key, after=int(place or b"0"), limit=query.limit)
    items = [version_view(version, record) for version, record in rows]
    return VersionsPage(items=items, next_cursor=cursors.encode(None if after is None else str(after).encode()))


def artifact_view(context: Context, key: str, head: Head) -> ArtifactView:
    kind, _, name = key.partition("/")
    holds = context.watch.holds.of_artifact(key)
    lot = context.queries.lot(key)
    return ArtifactView(
        key=key,
        kind=kind,
        name=name,
        version=head.version,
        digest=head.digest,
        newest=head.newest or head.version,
        generation=head.generation,
        action=head.action,
        accepted=head.accepted,
        parked=0 if lot is None else lot.queued + bool(lot.front),
        holds=[hold_view(hold) for hold in holds if hold.component in ("", *head.sync)],
        provenance=_provenance(head.provenance, context.queries.partition(key)),
        sync=pair_views(context, key, head),
    )


def pair_views(context: Context, artifact: str, head: Head) -> dict[str, PairView]:
    """By component."""
    pairs = sorted(head.sync.items())
    return {name: PairView.model_validate(pair_fields(context, artifact, name, pair)) for name, pair in pairs}


def pair_fields(context: Context, artifact: str, component: str, pair: Sync) -> dict[str, object]:
    """What `PairView` and those derived from it have in common."""
    hold = context.watch.holds.blocks(artifact, component)
    return {
        "held": hold and hold_view(hold),
        "state": pair.state.value,
        "version": pair.version,
        "desired": pair.desired,
        "delivered": pair.delivered,
        "since": rfc3339(pair.since_ms),
        "attempts": pair.attempts,
        "next_retry": rfc3339(pair.next_retry_ms),
        "last_error": pair.last_error,
        "deliveries": pair.deliveries,
        "superseded": pair.superseded,
    }


def version_view(version: str, record: Version) -> VersionView:
    ingress = Ingress.decode(record.ingress.encode())
    return VersionView(
        version=version,
        digest=record.digest,
        generation=record.generation,
        action=record.action,
        accepted_at=rfc3339(record.accepted_ms),
        principal=ingress.principal,
        door=ingress.door,
    )


def _provenance(provenance: Provenance, partition: int) -> ProvenanceView:
    return ProvenanceView(
        source=provenance.source,
        id=provenance.id,
        type=provenance.type,
        principal=provenance.principal,
        cluster=provenance.cluster,
        at=rfc3339(provenance.ingress_ms),
        token=str(Token(provenance.stream, partition, provenance.mark)),
    )
