"""Whether an event has been taken before. Two questions, in this order:

* Is its *identity* beyond the mark of its stream in this partition? If not, the bridge, the log or a restart repeats a record: it is
  dropped without a trace but a metric, because its outcome is in the audit already.
* Is its (principal, source, id) one that the artifact has taken? If so the producer repeats itself: a `duplicate`. The head remembers
  the newest few, and every version the ones that made it; so a second run over years of versions finds each of them.
"""

from __future__ import annotations

from hashlib import blake2b

from streams.ingress import Ingress
from tables.model import Head, Marker, Version

HEAD_TAKEN_MAX = 32
VERSION_TAKEN_MAX = 8


def is_repeated(ingress: Ingress, marker: Marker) -> bool:
    mark = marker.marks.get(ingress.stream)
    return mark is not None and ingress.mark <= mark


def event_hash(principal: str, source: str, ident: str) -> str:
    """96 bits of the event's name, as 24 hex digits."""
    return blake2b(f"{principal}\0{source}\0{ident}".encode(), digest_size=12).hexdigest()


def is_duplicate(taken: str, head: Head | None, version: Version | None) -> bool:
    return (head is not None and taken in head.taken) or (version is not None and taken in version.taken)


def remember(taken: str, known: list[str], count_max: int) -> list[str]:
    """The newest `count_max`, oldest first."""
    return [*known[-(count_max - 1) :], taken]
