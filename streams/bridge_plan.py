"""Where a bridge begins with a stream, decided from what is durable. Pure: the facts are gathered in `bridge_stream.py`.

    checkpoint  --none---------------------------------> a new incarnation, from the stream's first message
                --another stream (creation time)-------> "
                --the stream lost its tail-------------> "       (ends before the checkpoint or what the log has, or
                                                                 has another message there)
                --the log lost its tail----------------> the same incarnation, from the stream's first message: the grace window
                --messages missing behind it-----------> Gap
                --otherwise----------------------------> go on behind it

An incarnation is a number that only rises. The first is the time in seconds: if JetStream's disk is lost, checkpoints and all, the
streams made anew must not repeat identities that the engine's marks know.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.bridge_encode import missing
from streams.errors import Gap
from streams.ingress import Ingress, Mark
from streams.nats_streams import StreamState


class Checkpoint(msgspec.Struct, frozen=True):
    """Up to `sequence` of the stream the log has acknowledged everything. Stored as JSON under the stream's name.

    `offsets` are the log offsets behind the last record that it caused in each partition; `created` and `ingress_ns` (of the message
    at `sequence`, 0 where unknown) tell whether the stream is still the one that is meant; so does the log, which is asked when `server`,
    the nats-server's id, has changed. `marks` are of the records right before `offsets`: whether the log has them still, or has lost its tail
    and grown again. `buckets` are the rate limits' as `sequence` left them. `instance` wrote it, at `at_ms`.
    """

    stream: str
    created: str
    incarnation: int
    sequence: int
    ingress_ns: int
    offsets: dict[int, int]
    instance: str
    at_ms: int
    server: str = ""
    buckets: dict[str, int] = {}
    marks: dict[int, Mark] = {}


class Start(msgspec.Struct, frozen=True):
    """Begin with sequence `first` under `incarnation`. `alert` is for the operator, and ends with the next step."""

    incarnation: int
    first: int
    alert: str = ""


def plan_start(
    checkpoint: Checkpoint | None,
    stream: StreamState,
    *,
    stream_name: str,
    message_ns: int | None,
    lost: Mapping[int, int],
    now_s: int,
    in_log: Ingress | None = None,
    in_log_ns: int | None = None,
) -> Start:
    """`message_ns` is the time of the message at the checkpoint's sequence, None where the stream does not hold it; `lost` are
    partitions whose log lost records that the checkpoint counts on, with the offset from where on it has others or none; `in_log`
    is the stream's newest record in the log behind the checkpoint, where one was looked for, and `in_log_ns` the time of the
    stream's message there. Raises Gap."""
    first = max(stream.first, 1)
    if checkpoint is None:
        return Start(now_s, first, _without_checkpoint(stream_name) if stream.last else "")
    if checkpoint.created != stream.created:
        return Start(max(checkpoint.incarnation + 1, now_s), first, _made_anew(stream_name, checkpoint, stream))
    if in_log and _forgotten(checkpoint, stream, in_log, in_log_ns):
        incarnation = max(checkpoint.incarnation, in_log.incarnation) + 1
        return Start(incarnation, first, _lost_tail(stream_name, in_log.sequence, stream))
    if stream.last < checkpoint.sequence or _other_message(checkpoint, message_ns):
        return Start(checkpoint.incarnation + 1, first, _lost_tail(stream_name, checkpoint.sequence, stream))
    if lost:
        return Start(
            checkpoint.incarnation, min(first, checkpoint.sequence + 1), _log_shrank(stream_name, checkpoint, first, lost)
        )
    if stream.first > checkpoint.sequence + 1:
        raise Gap(missing(stream_name, checkpoint.sequence + 1, stream.first - 1))
    return Start(checkpoint.incarnation, checkpoint.sequence + 1)


def _other_message(checkpoint: Checkpoint, message_ns: int | None) -> bool:
    """A lost tail that has grown beyond the checkpoint again shows only in the message itself: purges leave it where it is."""
    return bool(checkpoint.ingress_ns and message_ns is not None and message_ns != checkpoint.ingress_ns)


def _forgotten(checkpoint: Checkpoint, stream: StreamState, in_log: Ingress, in_log_ns: int | None) -> bool:
    """Whether the log has messages of the stream that the stream has no more: not there, another one there, a later incarnation."""
    if in_log.incarnation != checkpoint.incarnation:
        return in_log.incarnation > checkpoint.incarnation
    another = in_log_ns is not None and in_log_ns // 1_000_000 != in_log.ingress_ms
    return in_log.sequence > stream.last or another


def _without_checkpoint(name: str) -> str:
    return (
        f"no checkpoint for the stream {name}, which had messages before: everything it still holds is sent under a new incarnation. "
        "Find out who removed the key from the bucket sm_bridge"
    )


def _made_anew(name: str, checkpoint: Checkpoint, stream: StreamState) -> str:
    return (
        f"the stream {name} of {checkpoint.created} is gone and one of {stream.created} is there: a new incarnation begins. Messages "
        f"behind sequence {checkpoint.sequence} of the old one are lost; ask its principal to publish again what was not accepted"
    )


def _lost_tail(name: str, in_log: int, stream: StreamState) -> str:
    return (
        f"the stream {name} lost its tail: the log has it up to sequence {in_log}, the stream itself ends at {stream.last} or "
        "holds another message there. A new incarnation begins; see that JetStream syncs to disk (sync_interval: always), and ask its "
        "principal to publish again what was not accepted"
    )


def _log_shrank(name: str, checkpoint: Checkpoint, first: int, lost: Mapping[int, int]) -> str:
    expected = checkpoint.offsets
    where = ", ".join(f"partition {p} has no more what it had from {end} to {expected[p]}" for p, end in sorted(lost.items()))
    reach = (
        "the stream still holds everything"
        if first == 1
        else f"what came before sequence {first} was purged: if the log lost more than nats.grace_window_s, publish it again"
    )
    return f"[events] lost its tail ({where}): the stream {name} is sent again from sequence {first}; {reach}"
