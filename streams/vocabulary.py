"""Which reader a type of event has. One sibling `vocabulary_<who>.py` for each family of types; adding a family is one line here."""

from __future__ import annotations

from functools import lru_cache

from streams import vocabulary_cdevents, vocabulary_harbor, vocabulary_zot
from streams.cloudevents import cut
from streams.errors import Malformed
from streams.vocabulary_base import Reader

FAMILIES = (vocabulary_cdevents, vocabulary_harbor, vocabulary_zot)


@lru_cache(maxsize=1024)
def reader_of(type_: str) -> Reader:
    """Raises Malformed(`type.unknown`), which also says so of known types that change no artifact."""
    for family in FAMILIES:
        reader = family.reader_of(type_)
        if reader is not None:
            return reader
    known = ", ".join(family.KNOWN for family in FAMILIES)
    raise Malformed("type.unknown", f"found {cut(type_)}; expected one of {known}")
