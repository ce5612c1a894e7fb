"""JetStream in memory: streams with sequences, acknowledgements, purges, buckets with compare-and-set, pull consumers.

Only the server is here; what stands in for nats-py's clients: `stream_clients.py`. A stream may lose its tail (its sequences are used
again), or be made anew, as a server does that acknowledged before it synced, or lost its disk.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from streams.nats_pull import Arrived
from tests.simulation.loop import SimulatedLoop

#: The simulation's first instant, in epoch seconds.
EPOCH_S = 1_795_000_000


class Refused(Exception):
    """JetStream's own error answer."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(description)
        self.answer = {"error": {"code": code, "err_code": err_code, "description": description}}


class Message(NamedTuple):
    subject: str
    headers: dict[str, str]
    body: bytes
    ns: int


class Stream:
    def __init__(self, config: dict[str, Any], created_ns: int) -> None:
        self.config = config
        self.created = _rfc3339(created_ns)
        self.messages: dict[int, Message] = {}
        self.ever: list[tuple[int, bytes]] = []  # sequence and body, purged or not
        self.lost: list[tuple[int, bytes]] = []  # those of `ever` that a fault has taken away
        self.first = 0
        self.last = 0

    def append(self, message: Message) -> int:
        self.last += 1
        if not self.messages:
            self.first = self.last
        self.messages[self.last] = message
        self.ever.append((self.last, message.body))
        return self.last

    def purge_below(self, sequence: int) -> None:
        for number in [number for number in self.messages if number < sequence]:
            del self.messages[number]
        self.first = min(self.messages, default=self.last + 1)

    def lose_tail(self, count: int) -> None:
        """The last `count` messages were acknowledged and are not there; their sequences are used again."""
        lost = sorted(self.messages)[-count:] if count else []
        for number in lost:
            self.lost.append((number, self.messages.pop(number).body))
        self.last -= len(lost)
        self.first = min(self.messages, default=self.last + 1 if self.last else 0)

    def last_of(self, subject: str) -> tuple[int, Message] | None:
        return next(((n, m) for n, m in reversed(self.messages.items()) if m.subject == subject), None)


class Consumer:
    def __init__(self, stream: str, name: str, position: int, deliver: Callable[[bytes, Arrived | bytes], None]) -> None:
        self.stream = stream
        self.name = name
        self.position = position
        self.delivered = 0
        self.pulls: list[list[Any]] = []  # [inbox, messages left]
        self.deliver = deliver


class SimulatedJetStream:
    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.streams: dict[str, Stream] = {}
        self._consumers: dict[str, Consumer] = {}
        self.starts = 1

    def now_ns(self) -> int:
        return int((EPOCH_S + self._loop.time()) * 1e9)

    def request(self, subject: str, payload: bytes, headers: dict[str, str], deliver: Any) -> dict[str, Any]:
        """What the server answers. Raises Refused."""
        if subject.startswith("$JS.API."):
            verb, _, name = subject.removeprefix("$JS.API.").rpartition(".")
            body = json.loads(payload) if payload else {}
            match verb:
                case "STREAM.INFO":
                    return self._info(self._stream(name))
                case "STREAM.CREATE" | "STREAM.UPDATE":
                    if name not in self.streams:
                        self.streams[name] = Stream(body, self.now_ns())
                    self.streams[name].config = body
                    return {}
                case "STREAM.MSG.GET":
                    return self._get(self._stream(name), body)
                case "STREAM.PURGE":
                    self._stream(name).purge_below(body["seq"])
                    return {}
            stream = verb.removeprefix("CONSUMER.CREATE.")
            self._stream(stream)
            self._consumers[name] = Consumer(stream, name, body["config"]["opt_start_seq"], deliver)
            return {}
        return {"stream": "", "seq": self.publish(subject, payload, headers)}

    def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> int:
        stream = self._stream(f"KV_{subject.split('.')[1]}" if subject.startswith("$KV.") else f"SM_IN_{subject.split('.')[2]}")
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        if expected is not None:
            last = stream.last_of(subject)
            if int(expected) != (last[0] if last else 0):
                raise Refused(400, 10071, "wrong last sequence")
        sequence = stream.append(Message(subject, headers, body, self.now_ns()))
        if subject.startswith("$KV."):
            for number in [n for n, m in stream.messages.items() if m.subject == subject and n != sequence]:
                del stream.messages[number]
        self._feed()
        return sequence

    def pull(self, stream: str, consumer: str, inbox: bytes, batch: int, expires_s: float) -> None:
        found = self._consumers.get(consumer)
        if found is None or found.stream != stream:
            return  # the server forgot it: nobody answers
        pull = [inbox, batch]
        found.pulls.append(pull)
        self._loop.later(expires_s, self._expire, found, pull)
        self._feed()

    def restart(self) -> None:
        """Consumers in memory are gone, and whoever connects sees that it is another start."""
        self._consumers.clear()
        self.starts += 1

    def make_anew(self, name: str) -> None:
        """With whatever it held."""
        before = self.streams[name]
        made = self.streams[name] = Stream(before.config, self.now_ns())
        made.ever = before.ever
        made.lost = [*before.lost, *((number, message.body) for number, message in before.messages.items())]

    def _stream(self, name: str) -> Stream:
        if name not in self.streams:
            raise Refused(404, 10059, "stream not found")
        return self.streams[name]

    def _info(self, stream: Stream) -> dict[str, Any]:
        size = sum(len(message.body) for message in stream.messages.values())
        state = {"first_seq": stream.first, "last_seq": stream.last, "messages": len(stream.messages), "bytes": size}
        return {"config": stream.config, "created": stream.created, "state": state}

    def _get(self, stream: Stream, body: dict[str, Any]) -> dict[str, Any]:
        found = (
            stream.last_of(body["last_by_subj"]) if "last_by_subj" in body else (body["seq"], stream.messages.get(body["seq"]))
        )
        if found is None or found[1] is None:
            raise Refused(404, 10037, "no message found")
        sequence, message = found
        headers = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in message.headers.items())
        return {
            "message": {
                "seq": sequence,
                "data": base64.b64encode(message.body).decode(),
                "hdrs": base64.b64encode(headers.encode()).decode(),
                "time": _rfc3339(message.ns),
            }
        }

    def _feed(self) -> None:
        for consumer in self._consumers.values():
            self._feed_consumer(consumer, self.streams[consumer.stream])

    def _feed_consumer(self, consumer: Consumer, stream: Stream) -> None:
        consumer.position = max(consumer.position, stream.first)
        while consumer.pulls and consumer.position <= stream.last:
            sequence, pull = consumer.position, consumer.pulls[0]
            consumer.position += 1
            message = stream.messages.get(sequence)
            if message is None:
                continue
            consumer.delivered += 1
            reply = f"$JS.ACK.{consumer.stream}.{consumer.name}.1.{sequence}.{consumer.delivered}.{message.ns}.{stream.last - sequence}"
            raw = "".join(f"{name}: {value}\r\n" for name, value in message.headers.items())
            headers = f"NATS/1.0\r\n{raw}\r\n".encode() if raw else b""
            consumer.deliver(pull[0], Arrived(reply.encode(), headers, message.body))
            pull[1] -= 1
            if pull[1] == 0:
                consumer.pulls.pop(0)

    def _expire(self, consumer: Consumer, pull: list[Any]) -> None:
        if pull in consumer.pulls:
            consumer.pulls.remove(pull)
            consumer.deliver(pull[0], b"NATS/1.0 408 Request Timeout\r\n\r\n")


def _rfc3339(ns: int) -> str:
    whole, fraction = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
