"""Policy `json_schema`: the event's `data` is valid under a JSON Schema. Compiling, and what a schema may not do: `streams/data_schema.py`."""

from __future__ import annotations

from agents.policies.base import Case, Check, Finding
from streams.data_schema import compile_schema, first_error
from streams.settings_policies import JsonSchema


def json_schema(policy: JsonSchema) -> Check:
    validator = compile_schema(policy.data_schema)
    is_valid = validator.is_valid

    def check(case: Case) -> Finding | None:
        data = case.data
        return None if is_valid(data) else Finding("schema.invalid", first_error(validator, data))

    return check
