"""Package URLs, read once and remembered. What SyncMaster makes of one is told in `vocabulary_cdevents.py`.

The parser is packageurl-python's. Most purls of a platform are plain, `pkg:type/namespace/name@version?key=value&…` without
anything to decode or to normalise; these are read by one expression, which has no opinion on all others.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import msgspec
from packageurl import PackageURL

from streams.errors import Malformed

PURL_CHARS_MAX = 2048


class Purl(msgspec.Struct, frozen=True):
    type: str
    namespace: str
    name: str
    version: str
    qualifiers: dict[str, str]

    @property
    def path(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@lru_cache(maxsize=8192)
def read_purl(text: str) -> Purl:
    """Raises Malformed(`subject.invalid`)."""
    if len(text) > PURL_CHARS_MAX:
        raise Malformed("subject.invalid", f"found a purl of {len(text)} characters; expected at most {PURL_CHARS_MAX}")
    return _read_plain(text) or _read_any(text)


# Types for which packageurl changes nothing but letters: `oci` and `docker` have names in lower case, `oci` versions too.
_PLAIN = re.compile(
    r"pkg:(oci|docker|generic)/((?:[a-z0-9._-]+/)*+)([a-z0-9._-]+)(?:@([A-Za-z0-9._:-]+))?(?:\?([a-z_]+=[A-Za-z0-9._:/-]+(?:&[a-z_]+=[A-Za-z0-9._:/-]+)*+))?"
)


class PlainPurl(NamedTuple):
    """As it was written; `pairs` are the qualifiers in their order."""

    type: str
    path: str
    version: str
    pairs: list[list[str]]


def plain_purl(text: str) -> PlainPurl | None:
    """None where something has to be decoded, normalised or refused."""
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    type_, namespace, name, version, query = match.groups()
    pairs = [pair.split("=", 1) for pair in query.split("&")] if query else []
    return PlainPurl(type_, namespace + name, version.lower() if version and type_ == "oci" else version or "", pairs)


def _read_plain(text: str) -> Purl | None:
    plain = plain_purl(text)
    if plain is None:
        return None
    namespace, _, name = plain.path.rpartition("/")
    return Purl(plain.type, namespace, name, plain.version, dict(plain.pairs))


def _read_any(text: str) -> Purl:
    try:
        purl = PackageURL.from_string(text)
    except ValueError as exc:
        raise Malformed("subject.invalid", f"found {text[:80]!a}; expected a package URL ({str(exc)[:80]})") from None
    qualifiers = purl.qualifiers if isinstance(purl.qualifiers, dict) else {}
    return Purl(purl.type, purl.namespace or "", purl.name, purl.version or "", qualifiers)
