"""Whether an event has been taken before. Two questions, in this order, and one about commands:

* Is its *identity* beyond the mark of its stream in this partition? If not, the bridge, the log or a restart repeats a record: it is
  dropped without a trace but a metric, because its outcome is in the audit already.
* Is its (principal, source, id) one that the artifact has taken? If so the producer repeats itself: a `duplicate`. The head remembers
  the newest few, and every version the ones that made it; so a second run over years of versions finds each of them.
* A *command* is repeated only where [commands] lost its tail and is read again: then it is one if it is no newer than what was taken.
"""

from __future__ import annotations

from hashlib import blake2b

from streams.ingress import Mark
from tables.model import Head, Marker, Version

HEAD_TAKEN_MAX = 32
VERSION_TAKEN_MAX = 8
_HASH_CHARS = 17


def is_repeated(stream: str, mark: Mark, marker: Marker) -> bool:
    known = marker.marks.get(stream)
    return known is not None and mark <= known


def is_repeated_command(offset: int, timestamp_ms: int, marker: Marker) -> bool:
    below, until_ms = marker.commands_again
    return offset < below and timestamp_ms <= until_ms


def event_hash(principal: str, source: str, ident: str) -> str:
    """64 bits of the event's name, as 16 hex digits and the space that divides it from the next."""
    return blake2b(f"{principal}\0{source}\0{ident}".encode(), digest_size=8).hexdigest() + " "


def is_duplicate(taken: str, head: Head | None, version: Version | None) -> bool:
    return (head is not None and taken in head.taken_hashes) or (version is not None and taken in version.taken_hashes)


def remembered(taken: str, known: str, count_max: int) -> str:
    """The newest `count_max`, oldest first. One string: looked through, copied and written at once, where a list is 32 objects."""
    return (known + taken)[-_HASH_CHARS * count_max :]
