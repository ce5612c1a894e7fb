"""Where a bridge begins: one test per line of the table in `bridge_plan.py`."""

from __future__ import annotations

import msgspec
import pytest

from streams.bridge_plan import Checkpoint, Start, plan_start
from streams.errors import Gap
from streams.ingress import Ingress
from streams.nats_streams import StreamState

NOW_S = 1_800_000_000
CHECKPOINT = Checkpoint(
    stream="SM_IN_c4", created="A", incarnation=7, sequence=100, ingress_ns=555, offsets={0: 40, 1: 60}, instance="x", at_ms=1
)
STREAM = StreamState(created="A", first=50, last=150, messages=101, payload_bytes=1, bytes_max=10)


def plan(
    checkpoint: Checkpoint | None, stream: StreamState, message_ns: int | None = 555, lost: dict[int, int] | None = None
) -> Start:
    return plan_start(checkpoint, stream, stream_name="SM_IN_c4", message_ns=message_ns, lost=lost or {}, now_s=NOW_S)


def state(**changes: object) -> StreamState:
    return msgspec.structs.replace(STREAM, **changes)


def test_goes_on_behind_the_checkpoint() -> None:
    """With nothing strange the bridge goes on one behind the checkpoint, without an alert."""
    assert plan(CHECKPOINT, STREAM) == Start(7, 101)


def test_a_new_stream_begins_quietly_with_the_time_as_incarnation() -> None:
    """Where there never was a message, a missing checkpoint is no alert, and the incarnation is later than any earlier one."""
    assert plan(None, state(first=0, last=0, messages=0)) == Start(NOW_S, 1)


def test_a_lost_checkpoint_sends_what_is_there_and_says_so() -> None:
    """A stream with messages and no checkpoint is sent from its first message under a new incarnation, with an alert."""
    start = plan(None, STREAM)
    assert (start.incarnation, start.first) == (NOW_S, 50)
    assert "no checkpoint" in start.alert


def test_a_stream_made_anew_raises_the_incarnation() -> None:
    """Another creation time means another stream: a higher incarnation, from its first message, with an alert."""
    start = plan(CHECKPOINT, state(created="B", first=1, last=200))
    assert (start.incarnation, start.first) == (NOW_S, 1)
    assert "made" not in start.alert
    assert "new incarnation" in start.alert


def test_the_incarnation_rises_even_when_the_clock_went_back() -> None:
    """A new incarnation is higher than the checkpoint's whatever the clock says."""
    ahead = msgspec.structs.replace(CHECKPOINT, incarnation=NOW_S + 1000)
    assert plan(ahead, state(created="B")).incarnation == NOW_S + 1001


def test_a_stream_that_ends_before_the_checkpoint_lost_its_tail() -> None:
    """Its sequences will be used again, so they get a new incarnation."""
    start = plan(CHECKPOINT, state(last=99), message_ns=None)
    assert (start.incarnation, start.first) == (8, 50)
    assert "lost its tail" in start.alert


def test_a_lost_tail_that_has_grown_again_is_noticed() -> None:
    """Another message at the checkpoint's own sequence shows that sequences were used again."""
    assert plan(CHECKPOINT, STREAM, message_ns=556).incarnation == 8


def test_a_log_that_lost_its_tail_is_sent_the_grace_window_again() -> None:
    """Same incarnation, from the first message that the stream holds; the alert tells that the window may not reach."""
    start = plan(CHECKPOINT, STREAM, lost={1: 30})
    assert (start.incarnation, start.first) == (7, 50)
    assert "partition 1 has no more what it had from 30 to 60" in start.alert
    assert "grace_window_s" in start.alert


def test_a_log_that_lost_its_tail_with_nothing_purged_is_complete() -> None:
    """Where nothing was purged the alert says that the stream holds everything."""
    assert "still holds everything" in plan(CHECKPOINT, state(first=1), lost={1: 30}).alert


def test_a_shrunk_log_and_an_empty_stream_go_on_behind_the_checkpoint() -> None:
    """With nothing left to send again, the bridge does not jump over messages to come."""
    assert plan(CHECKPOINT, state(first=101, last=100, messages=0), None, lost={0: 1}).first == 101


def test_messages_missing_behind_the_checkpoint_are_a_gap() -> None:
    """A first sequence beyond the next one, which our own purges never cause, stops the stream and tells how to go on."""
    with pytest.raises(Gap, match=r"101 to 119.*nats kv del sm_bridge SM_IN_c4"):
        plan(CHECKPOINT, state(first=120), None)


def test_a_purge_of_all_messages_is_a_gap_before_any_new_message() -> None:
    """An emptied stream that ends beyond the checkpoint misses messages, although there is none to read."""
    with pytest.raises(Gap, match="101 to 150"):
        plan(CHECKPOINT, state(first=151, last=150, messages=0), None)


def with_log(stream: StreamState, in_log: Ingress, in_log_ns: int | None) -> Start:
    return plan_start(
        CHECKPOINT, stream, stream_name="SM_IN_c4", message_ns=555, lost={}, now_s=NOW_S, in_log=in_log, in_log_ns=in_log_ns
    )


def in_log(sequence: int, incarnation: int = 7) -> Ingress:
    return Ingress("SM_IN_c4", incarnation, sequence, 0, 1234, "nats", "c4", "test")


def test_a_log_that_is_only_ahead_of_the_checkpoint_is_ordinary() -> None:
    """What the log took before the checkpoint was written is in the stream too: the bridge goes on."""
    assert with_log(STREAM, in_log(140), 1_234_567_890) == Start(7, 101)


def test_stream_and_checkpoint_that_went_back_together_are_noticed_by_the_log() -> None:
    """The log has a sequence that the stream does not have: sequences will be used again, so the incarnation rises."""
    start = with_log(STREAM, in_log(151), None)
    assert (start.incarnation, start.first) == (8, 50)
    assert "the log has it up to sequence 151" in start.alert


def test_sequences_used_again_are_noticed_by_the_log() -> None:
    """The stream has another message (another time) where the log has one."""
    assert with_log(STREAM, in_log(140), 1_235_000_000).incarnation == 8


def test_an_incarnation_is_never_used_again() -> None:
    """A checkpoint that forgot a new incarnation does not begin it a second time."""
    assert with_log(STREAM, in_log(3, incarnation=9), 1_234_000_000).incarnation == 10
