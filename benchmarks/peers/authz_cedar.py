"""The same roles and bindings for Cedar (cedarpy): one `permit` per rule and subject, `like` for globs. Policies and entities are parsed once.

Cedar's `like` has one wildcard, `*`, as our globs have. A resource's fields are attributes of the request's context.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import cedarpy

from streams.settings import Rule, Settings
from streams.settings_access import grants

#: principal, verb, type, artifact, component, environment: with the environment filled in.
Asked = tuple[str, str, str, str, str, str]


class Cedar:
    def __init__(self, settings: Settings) -> None:
        self._policies = cedarpy.PolicySet.from_str("\n".join(_policies(settings)))
        self._entities = cedarpy.Entities.from_json_str(json.dumps(_entities(settings)))

    def decide(self, asked: Asked) -> bool:
        return bool(cedarpy.is_authorized(_request(asked), self._policies, self._entities).allowed)

    def engine_ns(self, asked: Asked) -> float:
        """What Cedar itself took, as it tells it, in whole microseconds."""
        return 1000.0 * cedarpy.is_authorized(_request(asked), self._policies, self._entities).metrics["authz_duration_micros"]

    def decide_all(self, asked: Sequence[Asked]) -> list[tuple[bool, set[str]]]:
        """(allowed, names of the rules that allow it) of each, in one call."""
        results = cedarpy.is_authorized_batch([_request(one) for one in asked], self._policies, self._entities)
        assert not any(result.diagnostics.errors for result in results)
        return [(result.allowed, set(result.diagnostics.id_annotations_by_reason.values())) for result in results]


def _policies(settings: Settings) -> Iterator[str]:
    for grant in grants(settings.roles, settings.bindings):
        subjects = [f"principal == User::{_text(name)}" for name in grant.binding.principals]
        subjects += [f"principal in Group::{_text(name)}" for name in grant.binding.groups]
        actions = ", ".join(f"Action::{_text(verb)}" for verb in grant.rule.verbs)
        for subject in subjects:
            yield f"@id({_text(grant.name)})\npermit ({subject}, action in [{actions}], resource) when {{ {_condition(grant.rule)} }};"


def _condition(rule: Rule) -> str:
    selectors = (("type", rule.types), ("artifact", rule.artifacts), ("component", rule.components))
    parts = [
        "(" + " || ".join(f"context.{field} like {_text(pattern)}" for pattern in patterns) + ")"
        for field, patterns in (*selectors, ("environment", rule.environments))
        if patterns
    ]
    return " && ".join(parts) or "true"


def _entities(settings: Settings) -> list[dict[str, Any]]:
    return [
        {
            "uid": {"type": "User", "id": name},
            "attrs": {},
            "parents": [{"type": "Group", "id": group} for group in principal.groups],
        }
        for name, principal in settings.principals.items()
    ]


def _request(asked: Asked) -> dict[str, Any]:
    principal, verb, kind, artifact, component, environment = asked
    return {
        "principal": {"type": "User", "id": principal},
        "action": {"type": "Action", "id": verb},
        "resource": {"type": "Thing", "id": "it"},
        "context": {"type": kind, "artifact": artifact, "component": component, "environment": environment},
    }


def _text(text: str) -> str:
    """A Cedar string. Everything but plain letters is written as a code point, but the star, which is `like`'s wildcard."""
    return '"' + "".join(c if c.isascii() and (c.isalnum() or c in " *./-_,>") else f"\\u{{{ord(c):x}}}" for c in text) + '"'
