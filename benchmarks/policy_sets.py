"""Policies and rules to measure with: the example's, twenty beside two hundred rules, twenty that all look at every event, one of each kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from benchmarks.workload import PRINCIPAL

_TEAMS = 39
_ORBIT = Path(__file__).parents[1] / "gateway/local/orbit.yaml"


def example() -> list[dict[str, Any]]:
    """The policies of orbit.yaml, with its principals' part in them given to the one of the workload."""
    policies: list[dict[str, Any]] = yaml.safe_load(_ORBIT.read_text())["policies"]
    return [policy | {"principals": [PRINCIPAL]} if "principals" in policy else policy for policy in policies]


SCHEMA = {
    "type": "object",
    "required": ["context", "subject"],
    "properties": {
        "subject": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string", "maxLength": 2048, "pattern": "^pkg:"}, "content": {"type": "object"}},
        },
        "customData": {"type": "object", "properties": {"kind": {"enum": ["chart", "image"]}, "version": {"type": "string"}}},
    },
}

#: One of each kind that judges the workload's events, by its name in the table.
KINDS: dict[str, dict[str, Any]] = {
    "digest_required": {"kind": "digest_required"},
    "digest_immutable": {"kind": "digest_immutable"},
    "version_forward": {"kind": "version_forward"},
    "size_limit": {"kind": "size_limit", "bytes_max": 65_536},
    "rate_limit": {"kind": "rate_limit", "events_per_s": 1000, "burst_events": 10_000},
    "allow_deny": {"kind": "allow_deny", "sources": {"allow": ["/c*"], "deny": ["/c24-test*"]}},
    "freeze_window": {"kind": "freeze_window", "cron": "0 18 24 12 *", "duration_minutes": 12_000, "time_zone": "Europe/Berlin"},
    "json_schema": {"kind": "json_schema", "data_schema": SCHEMA},
}


def twenty() -> list[dict[str, Any]]:
    """Each kind once for the workload's charts, and what a platform has besides: images, environments, other principals."""
    charts = [shape | ({} if shape["kind"] == "rate_limit" else {"artifacts": ["chart/*"]}) for shape in KINDS.values()]
    images = [KINDS[kind] | {"artifacts": ["image/*"]} for kind in ("digest_required", "digest_immutable", "size_limit")]
    places = [
        {"kind": "allow_deny", "artifacts": [f"image/*/team-{n}/*"], "registries": {"allow": ["*.example"]}} for n in range(3)
    ]
    frozen = [KINDS["freeze_window"] | {"environments": [name]} for name in ("prod", "staging")]
    rates = [KINDS["rate_limit"] | {"principals": [f"team-{n:02}"]} for n in range(3)]
    found = [*charts, *images, *places, *frozen, *rates, KINDS["json_schema"] | {"types": ["dev.cdevents.environment.*"]}]
    return named(found)


def all_at_once() -> list[dict[str, Any]]:
    """Twenty policies all of which judge every event: each kind twice, and four of them a third time. The worst case, not a platform."""
    shapes = [*KINDS.values()] * 3
    return named(shapes[:20])


def named(shapes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [shape | {"name": f"policy-{number}"} for number, shape in enumerate(shapes)]


def two_hundred_rules() -> dict[str, Any]:
    """One rule for the workload's principal, four more of it, and five for each of 39 teams."""
    teams = [f"team-{number:02}" for number in range(_TEAMS)]
    own = [{"verbs": ["publish"], "types": ["dev.cdevents.artifact.*"], "artifacts": ["chart/*"]}]
    own += [{"verbs": ["read"], "artifacts": [f"chart/*-{number}"]} for number in range(4)]
    roles = {PRINCIPAL: {"rules": own}} | {team: {"rules": _rules(team)} for team in teams}
    bindings = [{"name": name, "role": name, "principals": [name]} for name in roles]
    return {"principals": {name: {} for name in roles}, "roles": roles, "bindings": bindings}


def _rules(team: str) -> list[dict[str, Any]]:
    publish = {"verbs": ["publish"], "types": ["dev.cdevents.artifact.*"]}
    return [
        publish | {"artifacts": [f"chart/{team}-*"]},
        publish | {"artifacts": [f"image/*/{team}/*"]},
        {"verbs": ["publish"], "types": ["dev.cdevents.environment.*"], "artifacts": [f"environment/{team}"]},
        {"verbs": ["read", "sync"], "artifacts": [f"*/{team}*"]},
        {"verbs": ["hold", "release"], "artifacts": [f"chart/{team}-*"], "environments": ["prod"]},
    ]


EXAMPLE, LARGE = "example", "twenty policies, 200 rules"


def sets() -> dict[str, dict[str, Any]]:
    """Sections to merge into the benchmarks' configuration, by the name in the tables."""
    rules = two_hundred_rules()
    found = {
        "none": {},
        EXAMPLE: {"policies": example()},
        LARGE: {"policies": twenty()} | rules,
        "twenty that judge every event, 200 rules": {"policies": all_at_once()} | rules,
    }
    # What is shared would be an alias in YAML, and a configuration may have none.
    copied: dict[str, dict[str, Any]] = json.loads(json.dumps(found))
    return copied
