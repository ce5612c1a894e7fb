"""Stand-ins for nats-py's client and for the one that pulls: what the bridge uses of them, over JetStream in memory.

Messages of a connection arrive in the order in which the server sent them, some time later; a broken connection brings no more.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

from nats import errors as nats_errors

from streams.alerts import Alert
from streams.errors import Retriable
from streams.log_append import LogAppender
from streams.nats_pull import Arrived, Slot, _ended
from tests.simulation.log import SimulatedLog
from tests.simulation.log_clients import SimulatedAppender
from tests.simulation.stream import EPOCH_S, Refused, SimulatedJetStream
from tests.simulation.wire import Lost, Wire


class _Reply(NamedTuple):
    data: bytes


class SimulatedClient:
    """`nats.aio.client.Client`."""

    def __init__(self, jetstream: SimulatedJetStream, wire: Wire) -> None:
        self._jetstream = jetstream
        self._wire = wire

    @property
    def _server_info(self) -> dict[str, str]:
        return {"server_id": f"start {self._jetstream.starts}"}

    async def request(self, subject: str, payload: bytes, *, timeout: float, headers: dict[str, str] | None = None) -> _Reply:
        if not self._is_usable():
            raise nats_errors.ConnectionClosedError
        try:
            answer = await self._wire.ask(self._jetstream.request, subject, payload, headers or {}, self._deliver)
        except Refused as exc:
            answer = exc.answer
        except Lost as exc:
            raise nats_errors.TimeoutError from exc
        return _Reply(json.dumps(answer).encode())

    def _is_usable(self) -> bool:
        return True  # the control connection reconnects by itself

    def _deliver(self, inbox: bytes, what: Arrived | bytes) -> None:
        raise AssertionError("only connections that pull have consumers")


class SimulatedPullClient(SimulatedClient):
    """`streams.nats_pull.PullClient`."""

    def __init__(self, jetstream: SimulatedJetStream, wire: Wire) -> None:
        super().__init__(jetstream, wire)
        self.messages: list[Arrived] = []
        self.is_closed = False
        self.is_connected = False
        self._slots: dict[str, Slot] = {}
        self._arrives_s = 0.0
        self.wakeup = asyncio.Event()

    async def connect(self) -> None:
        try:
            await self._wire.ask(lambda: None)
        except Lost as exc:
            raise Retriable("NATS is away") from exc
        self.is_connected = True

    def _is_usable(self) -> bool:
        return self.is_connected

    async def close(self) -> None:
        self.is_closed, self.is_connected = True, False

    def lose_connection(self) -> None:
        self.is_connected = False
        self.wakeup.set()

    async def add_slot(self) -> Slot:
        slot = Slot(f"inbox-{len(self._slots)}")
        self._slots[slot.inbox] = slot
        return slot

    async def publish(self, subject: str, payload: bytes, *, reply: str) -> None:
        stream, consumer = subject.removeprefix("$JS.API.CONSUMER.MSG.NEXT.").split(".")
        asked = json.loads(payload)
        self._wire.loop.later(self._wire.latency_s(), self._pull, stream, consumer, reply, asked["batch"], asked["expires"] / 1e9)

    def _pull(self, stream: str, consumer: str, reply: str, batch: int, expires_s: float) -> None:
        if self.is_connected:
            self._jetstream.pull(stream, consumer, reply, batch, expires_s)

    def _deliver(self, inbox: Any, what: Arrived | bytes) -> None:
        loop = self._wire.loop
        self._arrives_s = max(self._arrives_s, loop.time() + self._wire.latency_s())
        loop.later(self._arrives_s - loop.time(), self._arrive, inbox, what)

    def _arrive(self, inbox: str, what: Arrived | bytes) -> None:
        if not self.is_connected:
            return
        slot = self._slots[inbox]
        if isinstance(what, Arrived):
            self.messages.append(what)
            slot.arrived += 1
            slot.left -= 1
        else:
            _ended(slot, what)
        self.wakeup.set()


class SimulatedLinks:
    """`streams.bridge_links.Links` of one bridge process."""

    def __init__(self, jetstream: SimulatedJetStream, nats: Wire, log: SimulatedLog, kafka: Wire, topic: str) -> None:
        self._jetstream = jetstream
        self._nats = nats
        self._log = log
        self._kafka = kafka
        self._topic = topic
        self.clients: list[SimulatedPullClient] = []

    def make_appender(self) -> LogAppender:
        return SimulatedAppender(self._log, self._kafka, self._topic)

    def make_pull_client(self) -> SimulatedPullClient:
        self.clients.append(SimulatedPullClient(self._jetstream, self._nats))
        return self.clients[-1]

    async def connect(self, client: SimulatedPullClient, stream: str) -> None:
        await client.connect()

    def alert(self, alert: Alert) -> None:
        """Nobody listens here: what alerts tell, the checkers look for themselves."""

    def monotonic_s(self) -> float:
        return self._nats.loop.time()

    def wall_s(self) -> float:
        return EPOCH_S + self._nats.loop.time()
