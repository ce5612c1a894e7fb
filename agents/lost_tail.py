"""Whether the log still has what a partition's state was made from, and where to go on if not.

A power cut, or a disk that is set back, takes a log's tail, and what grows there later is another history. A position beyond the end tells
that; so does another record right before the position. What follows: a changelog that lost its tail is read again into the store
(`tables/replica.py`), a topic that did is read again from its beginning, and dedup drops what was taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import structlog

from streams.commands import Command
from streams.log_reader import TP, LogReader
from streams.log_tail import origin_of, records_at
from streams.topics import TABLES, Topics
from tables.fingerprint import Fingerprint
from tables.model import Marker
from tables.store import PartitionStore

log = structlog.get_logger(__name__)
_decode_command = msgspec.json.Decoder(Command).decode


class Seen(NamedTuple):
    """A record that was there: its offset, its sign, and how the sign is read from a record; "" is no record's sign."""

    offset: int
    sign: str
    read: Callable[[Any], str]


def seen_by(marker: Marker, topics: Topics, partition: int) -> dict[TP, Seen]:
    """The records right before a marker's positions, where it knows them."""
    seen = {
        TP(topics.events, partition): Seen(marker.events - 1, marker.last_event, origin_of),
        TP(topics.commands, partition): Seen(marker.commands - 1, marker.last_command, id_of),
    }
    return {tp: record for tp, record in seen.items() if record.sign}


def applied_by(store: PartitionStore, topics: Topics, partition: int) -> dict[TP, Seen]:
    """The last record of each changelog that is in the store."""
    last = {TP(topics.changelog(table), partition): store.fingerprint(table) for table in TABLES}
    return {tp: Seen(record.offset, record.digest.hex(), _digest_of) for tp, record in last.items() if record is not None}


async def missing(reader: LogReader, seen: Mapping[TP, Seen]) -> set[TP]:
    """Where the record is not there any more. What retention has taken cannot be told; it counts as there. Raises Retriable."""
    beginnings, ends = await reader.beginnings(seen), await reader.ends(seen)
    told = {tp: record.offset for tp, record in seen.items() if beginnings[tp] <= record.offset < ends[tp]}
    found = await records_at(reader, told)
    others = {tp for tp, record in found.items() if seen[tp].read(record) != seen[tp].sign}
    return others | {tp for tp, record in seen.items() if record.offset >= ends[tp]}


async def go_on(reader: LogReader, topics: Topics, partition: int, marker: Marker) -> Marker:
    """The marker with positions that the log has. Changes it. Raises Retriable."""
    events, commands = TP(topics.events, partition), TP(topics.commands, partition)
    beginnings, ends = await reader.beginnings([events, commands]), await reader.ends([events, commands])
    lost = await missing(reader, seen_by(marker, topics, partition))
    lost |= {tp for tp, position in ((events, marker.events), (commands, marker.commands)) if position > ends[tp]}
    for tp in lost:
        log.error("the log lost its tail; reading the topic again", topic=tp.topic, partition=partition, ends_at=ends[tp])
    if commands in lost:
        marker.commands_again, marker.last_command = (marker.commands, marker.command_ms), ""
    marker.events = _position(marker.events, beginnings[events], events, is_lost=events in lost)
    marker.commands = _position(marker.commands, beginnings[commands], commands, is_lost=commands in lost)
    return marker


def _position(position: int, beginning: int, tp: TP, *, is_lost: bool) -> int:
    if not is_lost and 0 < position < beginning:
        log.error("records were deleted before they were read", topic=tp.topic, partition=tp.partition, begins_at=beginning)
    return beginning if is_lost else max(position, beginning)


def id_of(record: Any) -> str:
    """Of a command; "" where there is no such record."""
    try:
        return "" if record is None else _decode_command(record.value).id
    except msgspec.MsgspecError:
        return ""


def _digest_of(record: Any) -> str:
    return "" if record is None else Fingerprint.of_record(record).digest.hex()
