"""A Helm repository's `index.yaml` to CloudEvents, one for each chart version, oldest first. Reading the file or the URL is the caller's.

The index lists the newest first; here `created` orders, ties and entries without a date by the listing read backwards. The same index gives
the same ids, so a second import is all duplicates. Read as plain strings: as a YAML number the version 1.10 would be 1.1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import msgspec
import yaml
from packageurl import PackageURL

from streams.envelope import parse_time
from streams.errors import Malformed

INDEX_BYTES_MAX = 64 << 20
ENTRIES_MAX = 200_000
#: libyaml's own loader recurses without bound and would take the process down.
YAML_DEPTH_MAX = 32

_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Entry(msgspec.Struct, frozen=True):
    """One chart version of an index; `digest` is bare hexadecimal or empty."""

    name: str
    version: str
    digest: str
    created: str | None
    urls: list[str]
    app_version: str | None
    removed: bool

    @property
    def moment(self) -> datetime:
        return (parse_time(self.created) if self.created else None) or _LONG_AGO


def events_of_index(text: str | bytes, place: str, report: Callable[[str], None] = lambda problem: None) -> Iterator[bytes]:
    """Structured CloudEvents, JSON bytes, in the order in which to send them. `place` is the index's URL or path.

    Entries that cannot be an event are told to `report`, one line each, and left out. Raises Malformed(`index.invalid`) for what is no index.
    """
    source = source_of(place)
    entries = list(_entries(_document(text), report))
    entries.reverse()
    for entry in sorted(entries, key=lambda entry: entry.moment):
        yield msgspec.json.encode(_event(entry, source))


def source_of(place: str) -> str:
    """The `source` of an index's events: its URL without file name and credentials; of a file, a URN of its folder's name."""
    url = urlsplit(place)
    if url.scheme in ("http", "https"):
        host = url.netloc.rpartition("@")[2]
        return f"{url.scheme}://{host}{url.path.removesuffix('index.yaml').rstrip('/')}"
    path = PurePath(place)
    folder = path.parent.name if path.suffix in (".yaml", ".yml") else path.name
    return f"urn:helm-index:{quote(folder or 'local', safe='')}"


def _document(text: str | bytes) -> dict[str, Any]:
    if len(text) > INDEX_BYTES_MAX:
        raise Malformed("index.invalid", f"found {len(text)} bytes; expected an index of at most {INDEX_BYTES_MAX}")
    try:
        _check_depth(text)
        document = yaml.load(text, Loader=_Loader)  # noqa: S506  BaseLoader makes strings, lists and dicts only
    except (yaml.YAMLError, ValueError) as exc:
        raise Malformed(
            "index.invalid", f"{' '.join(str(exc).split())[:200]}; expected the YAML of a Helm repository index"
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("entries"), dict):
        raise Malformed("index.invalid", "found no mapping `entries`; expected a Helm repository index")
    return document


def _check_depth(text: str | bytes) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > YAML_DEPTH_MAX:
            raise ValueError(f"more than {YAML_DEPTH_MAX} levels, one in another")


def _entries(document: dict[str, Any], report: Callable[[str], None]) -> Iterator[Entry]:
    count = 0
    for name, versions in document["entries"].items():
        if not isinstance(versions, list):
            report(f"{name}: expected a list of chart versions; left out")
            continue
        count += len(versions)
        if count > ENTRIES_MAX:
            raise Malformed("index.invalid", f"found more than {ENTRIES_MAX} chart versions; split the index")
        for number, raw in enumerate(versions):
            try:
                yield _entry(name, raw)
            except ValueError as exc:
                report(f"{name}[{number}]: {exc}; left out")


def _entry(name: Any, raw: Any) -> Entry:
    """Raises ValueError with what is wrong."""
    if not isinstance(raw, dict):
        raise ValueError("expected a mapping")  # noqa: TRY004  reported as a bad value, with the others
    version, digest, created, urls = (
        raw.get("version"),
        raw.get("digest") or "",
        raw.get("created") or None,
        raw.get("urls") or [],
    )
    if not isinstance(name, str) or not name or raw.get("name", name) != name:
        raise ValueError(f"the entry calls itself {str(raw.get('name'))[:80]!r}")
    if not isinstance(version, str) or not version:
        raise ValueError("it has no version")
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if digest and match is None:
        raise ValueError(f"version {version[:80]!r} has the digest {str(digest)[:80]!r}, which is no SHA-256")
    if created is not None and (not isinstance(created, str) or parse_time(created) is None):
        raise ValueError(f"version {version[:80]!r} was created at {str(created)[:80]!r}, which is no RFC 3339 timestamp")
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ValueError(f"version {version[:80]!r} has urls that are no list of strings")
    app_version = raw.get("appVersion")
    text = app_version if isinstance(app_version, str) else None
    return Entry(name, version, match[1] if match else "", created, urls, text, raw.get("removed") == "true")


def _event(entry: Entry, source: str) -> dict[str, Any]:
    predicate = "deleted.0.1.0" if entry.removed else "published.0.2.0"
    identity = "\0".join((source, entry.name, entry.version, entry.digest, predicate))
    purl = _purl(entry, source)
    shared = {
        "id": hashlib.sha256(identity.encode()).hexdigest()[:32],
        "source": source,
        "type": f"dev.cdevents.artifact.{predicate}",
    }
    when = {"time": entry.created} if entry.created else {}
    context = {"version": "0.4.1", **shared, **({"timestamp": entry.created} if entry.created else {})}
    data = {
        "context": context,
        "subject": {"id": purl, "source": source, "type": "artifact", "content": {}},
        "customData": _custom_data(entry),
        "customDataContentType": "application/json",
    }
    return {"specversion": "1.0", **shared, **when, "subject": purl, "datacontenttype": "application/json", "data": data}


def _purl(entry: Entry, source: str) -> str:
    """`pkg:generic/…`: the purl specification has no type for Helm."""
    url = urljoin(f"{source}/", entry.urls[0]) if entry.urls else ""
    qualifiers = {
        "checksum": f"sha256:{entry.digest}" if entry.digest else "",
        "download_url": url if url.startswith(("https://", "http://")) else "",
    }
    return PackageURL("generic", None, entry.name, entry.version, qualifiers).to_string()


def _custom_data(entry: Entry) -> dict[str, Any]:
    optional = {"appVersion": entry.app_version, "created": entry.created}
    known = {name: value for name, value in optional.items() if value is not None}
    return {"kind": "chart", "version": entry.version, "urls": entry.urls, **known}
