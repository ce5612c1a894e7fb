"""What must hold of a log, as named checkers: pure functions from what was read to nothing, or an AssertionError that says where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streams.ingress import Ingress


def check_first_occurrences_in_stream_order(log: Mapping[int, Iterable[Ingress]]) -> None:
    """In each partition, and for each stream, the first occurrences of identities are in stream order.

    With `check_nothing_missing` this says: repetitions only ever repeat what is there, so a reader that drops what is not beyond the
    last mark it saw of a stream drops no event.
    """
    for partition, records in log.items():
        last: dict[str, tuple[int, int, int]] = {}
        seen: set[tuple[str, tuple[int, int, int]]] = set()
        for offset, ingress in enumerate(records):
            identity = (ingress.stream, ingress.mark)
            if identity in seen:
                continue
            before = last.get(ingress.stream)
            assert before is None or before < ingress.mark, (
                f"partition {partition}, record {offset}: {ingress.stream} {ingress.mark} appears first after {before}"
            )
            seen.add(identity)
            last[ingress.stream] = ingress.mark


def check_nothing_missing(log: Mapping[int, Iterable[Ingress]], stream: str, incarnation: int, sequences: Iterable[int]) -> None:
    """Over all partitions, the log has exactly these sequences of the stream's incarnation, in whatever number of copies."""
    found = {
        ingress.sequence
        for records in log.values()
        for ingress in records
        if (ingress.stream, ingress.incarnation) == (stream, incarnation)
    }
    wanted = set(sequences)
    missing, surplus = sorted(wanted - found), sorted(found - wanted)
    assert not missing, f"{stream} {incarnation}: {len(missing)} sequences are missing, the first {missing[:5]}"
    assert not surplus, f"{stream} {incarnation}: {len(surplus)} sequences were never published, the first {surplus[:5]}"
