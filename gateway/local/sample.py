"""The sample of events that `syncmaster up` replays: what C4, C24 and C8 would publish in a morning, from `sample.jsonl`.

Ids are fixed, so a second replay is all duplicates. Among them on purpose: structured and binary mode, CDEvents before and after 0.5, one batch
of three, one signed, one deleted, one customized chart, one repeated id, one event that C4 may not publish, one that is cut off.
"""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files

import msgspec

from streams.events import Incoming


class SampleEvent(msgspec.Struct, frozen=True):
    """One message. It is published on `sm.in.<principal>.<subject>`; a body that is not UTF-8 is in `body_base64`."""

    principal: str
    subject: str
    headers: dict[str, str]
    body: str = ""
    body_base64: str = ""

    @property
    def incoming(self) -> Incoming:
        return Incoming(self.body.encode() or base64.b64decode(self.body_base64), self.headers)


@cache
def sample_events() -> tuple[SampleEvent, ...]:
    """All of them, in the order of publication."""
    lines = files("gateway.local").joinpath("sample.jsonl").read_bytes()
    return tuple(msgspec.json.Decoder(SampleEvent).decode_lines(lines))
