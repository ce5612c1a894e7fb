"""Policy `json_schema`: data is judged, wherever it stands; a schema reaches for nothing and cannot be made to explode."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from streams.data_schema import compile_schema
from tests.policy_cases import case, check_of, code_of, judged

SCHEMA = {
    "type": "object",
    "required": ["subject"],
    "properties": {"subject": {"type": "object", "properties": {"id": {"type": "string", "pattern": "^pkg:"}}}},
}
GOOD, BAD = {"subject": {"id": "pkg:generic/x"}}, {"subject": {"id": "secret-value"}}


def check(data: Any, schema: Any = SCHEMA) -> str | None:
    return code_of(check_of("json_schema", data_schema=schema)(case(body=json.dumps({"data": data}).encode())))


def test_data_is_valid_or_not() -> None:
    """The schema judges the event's data, and nothing around it."""
    assert check(GOOD) is None
    assert check(BAD) == "schema.invalid"


def test_a_finding_says_where_and_not_what() -> None:
    """The place and the rule; a value may be anything and does not go into the audit."""
    found = check_of("json_schema", data_schema=SCHEMA)(case(body=json.dumps({"data": BAD}).encode()))
    assert found is not None
    assert found.detail.startswith("data.subject.id: ")
    assert "pkg:" in found.detail
    assert "secret-value" not in found.detail


def test_data_of_binary_mode_is_the_body() -> None:
    """Binary mode has no envelope around the data."""
    judge, headers = check_of("json_schema", data_schema=SCHEMA), {"ce-specversion": "1.0"}
    assert judge(case(body=json.dumps(GOOD).encode(), headers=headers)) is None
    assert code_of(judge(case(body=json.dumps(BAD).encode(), headers=headers))) == "schema.invalid"


def test_data_in_base64_is_judged_too() -> None:
    """Wrapping data does not carry it past the policy."""
    judge = check_of("json_schema", data_schema=SCHEMA)
    for data, code in ((GOOD, None), (BAD, "schema.invalid")):
        wrapped = {"data_base64": base64.b64encode(json.dumps(data).encode()).decode()}
        assert code_of(judge(case(body=json.dumps(wrapped).encode()))) == code


def test_no_data_is_null() -> None:
    """An event without data is valid exactly where null is."""
    for body, headers in ((b"{}", {}), (b"", {"ce-specversion": "1.0"})):
        assert code_of(check_of("json_schema", data_schema=SCHEMA)(case(body=body, headers=headers))) == "schema.invalid"
        assert check_of("json_schema", data_schema={"type": "null"})(case(body=body, headers=headers)) is None


def test_data_that_cannot_be_read_refuses() -> None:
    """Nothing passes a schema that could not be asked."""
    verdict, _ = judged(case(body=b'{"data":'), {"name": "it", "kind": "json_schema", "data_schema": SCHEMA})
    assert verdict is not None
    assert verdict.code == "policy.failed"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"$ref": "other.json"}}},
        {"$schema": "https://example.org/own-meta-schema"},
        {"$ref": "#/$defs/none"},
    ],
)
def test_a_reference_to_elsewhere_is_refused(schema: dict[str, Any]) -> None:
    """Neither the network nor the disk is asked, and what cannot be resolved is told when the configuration is read."""
    with pytest.raises(ValueError, match="is not a JSON Schema that can be used"):
        compile_schema(schema)


def test_a_reference_within_the_schema_is_followed() -> None:
    """`$defs` of the schema itself."""
    assert check("a", {"$defs": {"n": {"type": "number"}}, "$ref": "#/$defs/n"}) == "schema.invalid"


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(", "(a{1000}){1000}"])
def test_expressions_that_could_explode_are_refused(pattern: str) -> None:
    """No look-around, no back-references, nothing that compiles to megabytes."""
    with pytest.raises(ValueError, match="regex"):
        compile_schema({"pattern": pattern})


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "^(a|a?)+$", "(.*a){20}$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_expressions_that_explode_elsewhere_are_linear_here(pattern: str) -> None:
    """The classics, against 200,000 letters, in a fraction of a second of CPU; CPython's own would take longer than the universe."""
    validator, begin = compile_schema({"pattern": pattern}), time.process_time()
    validator.is_valid("a" * 200_000 + "!")
    assert time.process_time() - begin < 2
