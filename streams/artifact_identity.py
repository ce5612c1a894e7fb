"""What the name, version and digest of an artifact may look like. Every vocabulary ends here; where the parts come from is theirs."""

from __future__ import annotations

import re
from unicodedata import is_normalized

from streams.cloudevents import cut
from streams.confusables import doubt
from streams.errors import Malformed
from streams.events import Action, Artifact

KINDS = frozenset({"image", "chart", "environment", "artifact"})
NAME_BYTES_MAX = 512
VERSION_CHARS_MAX = 256

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def artifact(key: str, version: str, digest: str | None, action: Action) -> Artifact:
    """The artifact of a key from `key_of`. Raises Malformed(`version.missing`, `version.invalid`, `version.confusable`, `digest.invalid`)."""
    check_version(version)
    if digest is not None and not is_digest(digest):
        raise Malformed("digest.invalid", f"found {cut(digest)}; expected sha256: and 64 hexadecimal digits in lower case")
    return Artifact(key, version, digest, action)


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def key_of(kind: str, name: str) -> str:
    """`<kind>/<name>`. Raises Malformed(`kind.unknown`, `subject.invalid`, `subject.confusable`)."""
    if kind not in KINDS:
        raise Malformed("kind.unknown", f"found {cut(kind)}; expected one of {', '.join(sorted(KINDS))}")
    check_name(name)
    return f"{kind}/{name}"


def check_name(name: str) -> None:
    """Names become keys, paths and subjects downstream: two spellings of one name, steps out of a path and look-alikes are refused."""
    if len(name.encode()) > NAME_BYTES_MAX:
        _refuse_name(name, f"at most {NAME_BYTES_MAX} bytes")
    if not is_normalized("NFC", name):
        _refuse_name(name, "Unicode in the form NFC")
    if not all(char.isprintable() for char in name):
        _refuse_name(name, "printable characters only")
    if (wish := doubt(name)) is not None:
        raise Malformed("subject.confusable", f"found the artifact name {cut(name)}; expected {wish}")
    if any(segment in ("", ".", "..") for segment in name.split("/")):
        _refuse_name(name, "segments between slashes that are neither empty nor . nor ..")


def check_version(version: str) -> None:
    if not version:
        raise Malformed("version.missing", "found no version; expected one in the purl, its tag, or customData.version")
    if len(version) > VERSION_CHARS_MAX or not version.isprintable():
        wish = f"at most {VERSION_CHARS_MAX} printable characters"
        raise Malformed("version.invalid", f"found {cut(version)} ({len(version)} characters); expected {wish}")
    if (wished := doubt(version)) is not None:
        raise Malformed("version.confusable", f"found {cut(version)}; expected {wished}")


def _refuse_name(name: str, expected: str) -> None:
    raise Malformed("subject.invalid", f"found the artifact name {cut(name)}; expected {expected}")
