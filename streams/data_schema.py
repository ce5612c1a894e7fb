"""JSON Schemas for the `data` of events: compiled once, without the network or the disk, and without expressions that explode.

The library is jsonschema-rs. Its regular expressions are matched in linear time (no look-around, no back-references), and a `$ref` may lead
to the schema itself and to nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema_rs import Validator

_PATTERN_BYTES_MAX = 1 << 20
#: Stands for values in messages: they go into the audit, and a value may be anything.
_MASK = "the value"


def compile_schema(schema: dict[str, Any]) -> Validator:
    """`$schema` chooses the draft, 2020-12 where it is missing. Raises ValueError, which says what is wrong."""
    from jsonschema_rs import ReferencingError, RegexOptions, ValidationError, validator_for  # 0.1 s, for those who have a schema

    try:
        return validator_for(schema, pattern_options=RegexOptions(size_limit=_PATTERN_BYTES_MAX), offline=True, mask=_MASK)
    except (ValidationError, ReferencingError) as exc:
        message = getattr(exc, "message", None) or str(exc)
        raise ValueError(f"is not a JSON Schema that can be used: {message.splitlines()[0][:200]}") from None


def first_error(validator: Validator, data: Any) -> str:
    """Where in the data what is wrong, without the values; the data is known not to be valid."""
    error = next(iter(validator.iter_errors(data)))
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
    return f"data{place}: {error.message}"[:300]
