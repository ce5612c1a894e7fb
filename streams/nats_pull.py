"""A NATS connection made for pulling: nats-py connects, authenticates and answers pings; messages of pulls are read from the wire here.

Why not nats-py's own reading: it loses what exceeds a pending limit, it costs 6 µs a message, and **a subject is enough to stop it**:
`sm.in.x.\\xff` ends its read loop, `sm.in.x.a\\x0cb` reconnects it for ever, and JetStream stores both. The wire itself is simple: subject
and sizes are divided by one space, and what a publisher wrote is never interpreted.
"""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

from nats.aio.client import Client
from nats.errors import ProtocolError

_LINE_BYTES_MAX = 64 << 10
_M, _H = b"MH"


class Arrived(NamedTuple):
    """One message as it came: `reply` tells stream position and time, `headers` is the raw block (empty where there is none)."""

    reply: bytes
    headers: bytes
    body: bytes


class Slot:
    """One pull request's inbox. `arrived` counts for ever; `left` is what this pull may still bring, 0 once it has ended."""

    __slots__ = ("arrived", "inbox", "left", "requested_at", "status")

    def __init__(self, inbox: str) -> None:
        self.inbox = inbox
        self.arrived = 0
        self.left = 0
        self.requested_at = 0.0
        #: The first status line that was not an ordinary end of a pull.
        self.status = b""


class PullClient(Client):
    """`messages` grows in the order of the wire; `wakeup` is set when something arrived, a pull ended or the connection closed."""

    def __init__(self) -> None:
        super().__init__()
        self.slots: dict[bytes, Slot] = {}
        self.messages: list[Arrived] = []
        self.wakeup = asyncio.Event()
        self._ps = WireParser(self)

    async def add_slot(self) -> Slot:
        """Subscribe a new inbox. Its messages go to `messages`, past nats-py's queues and their limits."""
        slot = Slot(self.new_inbox())
        subscription = await self.subscribe(slot.inbox)
        self.slots[b"%d" % subscription._id] = slot
        return slot

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        await super()._close(status, do_cbs)
        self.wakeup.set()


class WireParser:
    """Stands in for nats-py's parser, which calls `parse` with what the socket gave, and `reset` on a new connection."""

    def __init__(self, client: PullClient) -> None:
        self._client = client
        self.reset()

    def reset(self) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._needed_bytes = 0

    async def parse(self, data: bytes = b"") -> None:
        """Large payloads are collected and joined once: no quadratic copying, however they are cut."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes < self._needed_bytes:
            return
        buffer = b"".join(self._held)
        end = await self._consume(buffer)
        self._held = [buffer[end:]]
        self._held_bytes = len(buffer) - end

    async def _consume(self, buffer: bytes) -> int:
        """Handle every whole operation; returns where the first incomplete one begins, and remembers how much it needs."""
        client, slots, take = self._client, self._client.slots, self._client.messages.append
        new = tuple.__new__  # at half the cost of calling the class
        position, size, find = 0, len(buffer), buffer.find
        while (line_end := find(b"\r\n", position)) >= 0:
            kind = buffer[position]
            if kind not in (_H, _M):
                line, position = buffer[position:line_end], line_end + 2
                await self._control(line)
                continue
            fields = buffer[position:line_end].split(b" ")
            begin = line_end + 2
            end = begin + int(fields[-1])
            if end + 2 > size:
                self._needed_bytes = end + 2 - position
                client.wakeup.set()
                return position
            body = begin + int(fields[-2]) if kind == _H else begin
            slot = slots.get(fields[2])
            if slot is None:
                reply = fields[3] if len(fields) > (5 if kind == _H else 4) else b""
                await client._process_msg(int(fields[2]), fields[1], reply, buffer[body:end], buffer[begin:body])
            elif len(fields) == (6 if kind == _H else 5):
                take(new(Arrived, (fields[3], buffer[begin:body], buffer[body:end])))
                slot.arrived += 1
                slot.left -= 1
            else:
                _ended(slot, buffer[begin:body])
            position = end + 2
        if size - position > _LINE_BYTES_MAX:
            raise ProtocolError
        self._needed_bytes = 0
        client.wakeup.set()
        return position

    async def _control(self, line: bytes) -> None:
        client = self._client
        operation = line[:4].upper()
        if operation == b"PING":
            await client._process_ping()
        elif operation == b"PONG":
            await client._process_pong()
        elif operation == b"INFO":
            await client._process_info(json.loads(line[5:]))
        elif operation == b"-ERR":
            await client._process_err(line[5:].decode(errors="replace").lower())
        elif operation[:3] != b"+OK":
            raise ProtocolError


def _ended(slot: Slot, headers: bytes) -> None:
    """A message without a reply subject is the server's word on the pull: `NATS/1.0 408 Request Timeout`."""
    line = headers.partition(b"\r\n")[0].removeprefix(b"NATS/1.0").strip()
    slot.left = 0
    if not line.startswith((b"408", b"404", b"409 Message Size Exceeds MaxBytes", b"409 Batch Completed")):
        slot.status = slot.status or line
