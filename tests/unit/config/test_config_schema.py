"""The published JSON Schema, as an editor uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from streams.config_yaml import read_document

SCHEMA = Path("docs/syncmaster.schema.json")
ORBIT = Path("gateway/local/orbit.yaml")


@pytest.fixture(scope="module")
def validator() -> Any:
    return jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))


def test_the_example_is_valid_by_the_schema(validator: Any) -> None:
    """Editors that follow the schema find nothing wrong with the Orbit topology."""
    assert [error.message for error in validator.iter_errors(read_document(ORBIT.read_text(), {}).data)] == []


def test_the_example_names_the_schema() -> None:
    """The first line tells editors where the schema is, and it is there."""
    first = ORBIT.read_text().splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    assert (ORBIT.parent / first.removeprefix(prefix)).resolve() == SCHEMA.resolve()


@pytest.mark.parametrize("wrong", [{"clutser": "a"}, {"cluster": "a", "kafka": {"partitions": 0}}, {"cluster": "A!"}])
def test_the_schema_refuses_what_the_loader_refuses(validator: Any, wrong: dict[str, Any]) -> None:
    """Unknown keys, values out of range and names of the wrong form are errors by the schema, too."""
    assert not validator.is_valid(wrong)
