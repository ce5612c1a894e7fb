"""A producer as a process of its own: C4, C24 or C8 announcing what it has, as `python -m gateway.local.feed`.

It speaks only to NATS, as its own user. What JetStream said to each message goes to a report, one JSON line each, and the last
line says that all is done: `{"done": true}`. `syncmaster up --once` reads it to know what to account for.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from gateway.local.sample import sample_events
from streams.codec import split
from streams.events import Incoming
from streams.helm_index import events_of_index
from streams.producer import Acknowledged, Message, content_id, publish_all
from streams.publisher import message_id
from streams.settings import Limits, Nats, SecretRef

_encode = msgspec.json.encode


class Line(msgspec.Struct, omit_defaults=True):
    """One line of the report: a message, the events in it (by their index) and the artifact keys that they are about."""

    stream: str = ""
    sequence: int = 0
    duplicate: bool = False
    keys: list[str] = []  # `unknown/<principal>` for what is no event
    done: bool = False


def messages_of_sample(principal: str) -> Iterator[Message]:
    for event in sample_events():
        if event.principal == principal:
            yield Message(event.subject, event.incoming, identify(event.incoming))


def messages_of_index(text: bytes, place: str) -> Iterator[Message]:
    for body in events_of_index(text, place, print):
        yield Message("helm", Incoming(body), identify(Incoming(body)))


def identify(incoming: Incoming) -> str:
    """The deduplication id: of a single event its (source, id), of anything else its bytes."""
    try:
        names = msgspec.json.decode(incoming.body, type=_Names)
    except msgspec.MsgspecError:
        names = _Names(incoming.headers.get("ce-id", ""), incoming.headers.get("ce-source", ""))
    return message_id(names.source, names.id) if names.id else content_id(incoming.body)


class _Names(msgspec.Struct):
    id: str = ""
    source: str = ""


def keys_of(principal: str, incoming: Incoming) -> list[str]:
    return [part.key or f"unknown/{principal}" for part in split(incoming, Limits())]


async def feed(
    nats: Nats, principal: str, password: SecretRef, messages: Iterable[Message], report: IO[bytes], *, per_s_max: float
) -> None:
    def note(message: Message, ack: Acknowledged) -> None:
        line = Line(ack.stream, ack.sequence, ack.duplicate, keys_of(principal, message.incoming))
        report.write(_encode(line) + b"\n")
        report.flush()

    await publish_all(nats, principal, password, messages, note, per_s_max=per_s_max)
    report.write(_encode(Line(done=True)) + b"\n")


def read_report(path: Path) -> list[Line]:
    """The whole lines written so far."""
    if not path.exists():
        return []
    text = path.read_bytes()
    return msgspec.json.Decoder(Line).decode_lines(text[: text.rfind(b"\n") + 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("principal")
    parser.add_argument("--nats", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--index", help="a local index.yaml; without it, the principal's part of the sample")
    parser.add_argument("--place", help="where the index came from, for `source`")
    parser.add_argument("--per-s-max", type=float, default=0.0)
    given = parser.parse_args()
    messages = messages_of_sample(given.principal)
    if given.index:
        messages = messages_of_index(Path(given.index).read_bytes(), given.place or given.index)
    password = SecretRef(file=given.password_file)
    with given.report.open("wb") as report:
        asyncio.run(feed(Nats(url=given.nats), given.principal, password, messages, report, per_s_max=given.per_s_max))


if __name__ == "__main__":
    main()
