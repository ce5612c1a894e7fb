"""Policies and the cases they judge, as small builders."""

from __future__ import annotations

from typing import Any

from agents.policies import Case, Judgement, Policies
from agents.policies.base import Check, Finding
from agents.policies.registry import KINDS
from streams.events import Action, Artifact, Event, Incoming
from streams.ingress import Ingress
from streams.settings import Settings
from tables.model import Head, Provenance, Version
from tests.events import digest_of

NOW_MS = 1_795_000_000_000
DIGEST, OTHER_DIGEST = digest_of("one"), digest_of("another")


def settings_of(*policies: dict[str, Any]) -> Settings:
    return Settings.model_validate({"cluster": "test", "policies": list(policies)})


def check_of(kind: str, **keys: Any) -> Check:
    """One policy's function."""
    (policy,) = settings_of({"name": "it", "kind": kind, **keys}).policies
    return KINDS[type(policy)](policy)


def code_of(found: Finding | None) -> str | None:
    return None if found is None else found.code


def judged(case: Case, *policies: dict[str, Any]) -> Judgement:
    return Policies(settings_of(*policies)).judge(case)


def case(
    key: str = "chart/argo-cd",
    version: str = "1.0.0",
    digest: str | None = DIGEST,
    *,
    action: Action = Action.PUBLISHED,
    type: str = "dev.cdevents.artifact.published.0.2.0",  # noqa: A002
    source: str = "urn:test",
    principal: str = "c24",
    body: bytes = b'{"data":{}}',
    headers: dict[str, str] | None = None,
    at_ms: int = NOW_MS,
    over: str = "",
    newest: str | None = None,
    known_digest: str | None = None,
) -> Case:
    """An event about an artifact. `newest`: it is known, and that is its greatest version; `known_digest`: of this version."""
    return Case(
        Event("id", source, type, Artifact(key, version, digest, action)),
        Incoming(body, headers or {}),
        Ingress("SM_IN_c24", 1, 1, 0, at_ms, "nats", principal, "test", over),
        None if newest is None else _head(newest),
        None if known_digest is None else _version(known_digest),
    )


def _head(newest: str) -> Head:
    provenance = Provenance("id", "urn:test", "t", "c24", "SM_IN_c24", (1, 1, 0), NOW_MS, "test")
    return Head(newest, None, 1, provenance, newest=newest)


def _version(digest: str) -> Version:
    return Version(1, digest, Action.PUBLISHED, "", {}, body=b"{}")  # type: ignore[arg-type]
