"""A broker's answers, handed to whoever waits as they arrive.

aiokafka reads a connection in a task of its own: an answer wakes that task, which wakes whoever asked. On a busy loop each of these is
a round, a transaction has two requests, and everything else of its partition waits for them. Here the transport itself calls what
finds the answer's request. Everything but the reading is aiokafka's, security too: a connection is taken over once it is open.

Leans on private names of aiokafka.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, AIOKafkaProtocol, CloseReason

log = structlog.get_logger(__name__)

_SIZE_BYTES = 4


class FramedClient(AIOKafkaClient):
    """A client whose connections are read in frames."""

    async def _get_conn(self, node_id: int, **options: Any) -> AIOKafkaConnection | None:
        connection = await super()._get_conn(node_id, **options)
        if connection is not None and not isinstance(connection._protocol, Frames):
            Frames(connection).take_over()
        return cast(AIOKafkaConnection | None, connection)


class Frames(asyncio.Protocol):
    """Of one connection. Flow control of what is written, and who waits for the end, stay with aiokafka's own protocol."""

    def __init__(self, connection: AIOKafkaConnection) -> None:
        self._connection = connection
        self._before: AIOKafkaProtocol = connection._protocol
        self._held = bytearray()

    def take_over(self) -> None:
        """In the same round in which the connection was opened: nothing has been asked since, so nothing is on its way."""
        connection = self._connection
        connection._read_task.cancel()
        connection._protocol = self
        transport = connection._writer.transport
        transport.set_protocol(self)
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._held += data
        while len(self._held) >= _SIZE_BYTES:
            end = _SIZE_BYTES + int.from_bytes(self._held[:_SIZE_BYTES], "big")
            if len(self._held) < end:
                return
            frame = bytes(self._held[_SIZE_BYTES:end])
            del self._held[:end]
            try:
                self._connection._handle_frame(frame)
            except Exception as exc:
                log.exception("an answer of the log cannot be understood", host=self._connection.host, port=self._connection.port)
                self._connection.close(CloseReason.CONNECTION_BROKEN, exc)
                return

    def eof_received(self) -> bool:
        return False  # the transport closes, and says so below

    def connection_lost(self, exc: Exception | None) -> None:
        self._before.connection_lost(exc)
        self._connection.close(CloseReason.CONNECTION_BROKEN, exc)

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()
