"""Answers of a broker, as they come in pieces: each goes to the connection whole, in order, and what cannot be understood ends it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka.conn import CloseReason
from hypothesis import given
from hypothesis import strategies as st

from streams.log_frames import Frames


class Connection:
    """As far as it is leant on."""

    host, port = "broker", 9092

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.closed: list[tuple[Any, Exception | None]] = []
        self.lost: list[Exception | None] = []
        self._protocol = SimpleNamespace(connection_lost=self.lost.append)

    def _handle_frame(self, frame: bytes) -> None:
        if frame == b"nonsense":
            raise ValueError(frame)
        self.frames.append(frame)

    def close(self, reason: Any = None, exc: Exception | None = None) -> None:
        self.closed.append((reason, exc))


def _framed(connection: Connection) -> Frames:
    return Frames(connection)  # type: ignore[arg-type]


def _wire(*answers: bytes) -> bytes:
    return b"".join(len(answer).to_bytes(4, "big") + answer for answer in answers)


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_answers_are_whole_and_in_order_however_they_are_cut(answers: list[bytes], data: st.DataObject) -> None:
    """TCP keeps no boundaries: not of an answer, not of its size."""
    connection, wire = Connection(), _wire(*answers)
    frames = _framed(connection)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        frames.data_received(wire[begin:end])
    assert connection.frames == answers


def test_an_answer_that_cannot_be_understood_ends_the_connection() -> None:
    """What follows it is not looked at: nobody knows any more which request it is for."""
    connection = Connection()
    _framed(connection).data_received(_wire(b"first", b"nonsense", b"third"))
    assert connection.frames == [b"first"]
    [(reason, error)] = connection.closed
    assert reason is CloseReason.CONNECTION_BROKEN
    assert isinstance(error, ValueError)


def test_whoever_waits_hears_of_the_end() -> None:
    """aiokafka's own protocol tells those who write and close, the connection those who asked."""
    connection, gone = Connection(), ConnectionResetError()
    _framed(connection).connection_lost(gone)
    assert connection.lost == [gone]
    assert connection.closed == [(CloseReason.CONNECTION_BROKEN, gone)]
