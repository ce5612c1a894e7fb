"""What is wrong with a policy is told with its line and its mend, before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streams.config_file import load_settings
from streams.config_lint_policies import known_types
from streams.settings_policies import JsonSchema
from streams.vocabulary import reader_of
from tests.unit.config.conftest import Problems


def config(*policies: str, more: str = "") -> str:
    return "cluster: here\n" + more + "policies:\n" + "".join(f"  - {{{policy}}}\n" for policy in policies)


WRONG = {
    "name: a": ("error", "policies[0]", "does not say of which kind it is"),
    "name: a, kind: none": ("error", "policies[0]", "`kind` is none that is known"),
    "kind: digest_required": ("error", "policies[0].name", "is missing"),
    "name: a, kind: digest_required, artifact: [x/*]": ("error", "policies[0].artifact", "unknown key `artifact`"),
    "name: a, kind: digest_required, action: explode": ("error", "policies[0].action", "must be 'alert', 'refuse'"),
    "name: a, kind: freeze_window, duration_minutes: 5, cron: 0 0 30 2 *": ("error", "policies[0].cron", "cannot be read"),
    "name: a, kind: freeze_window, duration_minutes: 5, cron: 0 0 *": ("error", "policies[0].cron", "must have five fields"),
    "name: a, kind: freeze_window, duration_minutes: 5, cron: '* * * * * *'": (
        "error",
        "policies[0].cron",
        "must have five fields",
    ),
    "name: a, kind: freeze_window, duration_minutes: 5, cron: 0 0 * * *, time_zone: Mars/Here": (
        "error",
        "policies[0].time_zone",
        "there is no time zone 'Mars/Here'",
    ),
    "name: a, kind: freeze_window, duration_minutes: 5, cron: 0 0 * * *, time_zone: ../../etc/passwd": (
        "error",
        "policies[0].time_zone",
        "there is no time zone",
    ),
    "name: a, kind: digest_required, halts: {everything: true}": ("error", "policies[0].halts", "means nothing with the action"),
    "name: a, kind: digest_required, action: halt, halts: {}": ("error", "policies[0].halts", "must say what stops"),
    "name: a, kind: digest_required, action: halt, halts: {everything: true, component: c8}": (
        "error",
        "policies[0].halts",
        "must say what stops",
    ),
    "name: a, kind: digest_required, action: halt, halts: {component: c8}": (
        "error",
        "policies[0].halts.component",
        "there is no component 'c8'",
    ),
    "name: a, kind: allow_deny": ("error", "policies[0]", "allows and denies nothing"),
    "name: a, kind: json_schema": ("error", "policies[0].data_schema", "is missing"),
    "name: a, kind: json_schema, data_schema: {type: nothing}": ("error", "policies[0].data_schema", "is not a JSON Schema"),
    "name: a, kind: json_schema, data_schema: {$ref: 'https://x/y'}": (
        "error",
        "policies[0].data_schema",
        "is not a JSON Schema",
    ),
    "name: a, kind: json_schema, data_schema: {pattern: '(a)\\1'}": ("error", "policies[0].data_schema", "is not a JSON Schema"),
    "name: a, kind: json_schema, data_schema_file: none.json": ("error", "policies[0].data_schema_file", "cannot read"),
    "name: a, kind: rate_limit, events_per_s: 1, burst_events: 1, types: [x]": (
        "error",
        "policies[0].types",
        "unknown key `types`",
    ),
    "name: a, kind: rate_limit, events_per_s: 0, burst_events: 1": (
        "error",
        "policies[0].events_per_s",
        "must be greater than 0",
    ),
    "name: a, kind: digest_required, principals: [nobody]": ("warning", "policies[0].principals[0]", "matches no principal"),
    "name: a, kind: digest_required, types: [dev.cdevents.artefact.*]": (
        "warning",
        "policies[0].types[0]",
        "matches no type of event",
    ),
    "name: a, kind: digest_required, artifacts: [charts/*]": (
        "warning",
        "policies[0].artifacts[0]",
        "matches no kind of artifact",
    ),
    "name: a, kind: digest_required, artifacts: [chart/*], environments: [prod]": (
        "warning",
        "policies[0].environments",
        "only kind environment has one",
    ),
    "name: a, kind: size_limit, bytes_max: 262144": ("warning", "policies[0].bytes_max", "is not below limits.event_bytes_max"),
}


@pytest.mark.parametrize("policy", WRONG)
def test_what_is_wrong_is_told_with_its_line(problems: Problems, policy: str) -> None:
    """Level, path, message and line of each slip, one at a time."""
    (found,) = problems(config(policy))
    level, path, message = WRONG[policy]
    assert (found.level, found.path, found.line) == (level, path, 3)
    assert found.message.startswith(message)


def test_names_are_told_apart(problems: Problems) -> None:
    """Two policies of one name: an audit record would not say which."""
    (found,) = problems(
        config("name: a, kind: digest_required", "name: b, kind: digest_immutable", "name: a, kind: digest_immutable")
    )
    assert (found.level, found.path, found.line) == ("error", "policies[2].name", 5)


def test_good_policies_have_no_findings(problems: Problems) -> None:
    """Each kind, with selectors that match something."""
    principal = "principals: {c24: {nats_password: {file: /dev/null}}}\nroles: {r: {rules: [{verbs: [publish]}]}}\n"
    principal += "bindings: [{name: b, role: r, principals: [c24]}]\n"
    found = problems(
        config(
            "name: a, kind: digest_required, principals: [c*], types: [dev.cdevents.artifact.*], artifacts: ['*']",
            "name: b, kind: freeze_window, cron: 0 18 * * FRI, duration_minutes: 60, environments: [prod]",
            "name: c, kind: size_limit, bytes_max: 1000, artifacts: [environment/prod]",
            more=principal,
        )
    )
    assert [problem for problem in found if problem.path.startswith("policies")] == []


def test_a_schema_file_is_read_with_the_configuration(write: Callable[[str], Path], tmp_path: Path) -> None:
    """From beside the configuration, as JSON or YAML; the hash of the configuration stands for what it says."""
    file = write(config("name: a, kind: json_schema, data_schema_file: schema.yaml"))
    hashes = set()
    for text in ("type: object", '{"type": "array"}'):
        (tmp_path / "schema.yaml").write_text(text)
        settings = load_settings(file, {})
        hashes.add(settings.config_hash)
    (policy,) = settings.policies
    assert isinstance(policy, JsonSchema)
    assert policy.data_schema == {"type": "array"}
    assert len(hashes) == 2


@pytest.mark.parametrize("content", [b"[", b"\xff", b"x" * ((1 << 20) + 1), b"- 1"])
def test_a_schema_file_that_is_none_is_told(problems: Problems, tmp_path: Path, content: bytes) -> None:
    """Not YAML, not text, too large, or not an object."""
    (tmp_path / "schema.json").write_bytes(content)
    (found,) = problems(config("name: a, kind: json_schema, data_schema_file: schema.json"))
    assert found.level == "error"
    assert found.path.startswith("policies[0].data_schema")


def test_the_known_types_are_those_with_readers() -> None:
    """What a selector is compared with is what the codec reads."""
    found = [pattern.replace("*", "0.2.0") for pattern in known_types()]
    assert len(found) == len({*found}) == 12
    assert all(reader_of(event_type) for event_type in found)
