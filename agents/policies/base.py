"""What a policy judges and what it may say. Which kinds there are: `registry.py`; which policies an event is judged by: `judging.py`.

A policy is a pure function of a case: no clock, no I/O, nothing remembered from one case to the next (but by `lru_cache`). So a record
that is read again is judged alike.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from streams.events import Event, Incoming
from streams.ingress import Ingress
from streams.settings_policies import Action
from tables.model import Head, Version


class Case(msgspec.Struct, gc=False):
    """One event in front of its artifact's state. Policies change none of it.

    `version` is the entry that the event's version has so far. The time that counts is `ingress.ingress_ms`, which a repetition shares.
    """

    event: Event
    incoming: Incoming
    ingress: Ingress
    head: Head | None = None
    version: Version | None = None
    _data: Any = msgspec.UNSET

    @property
    def data(self) -> Any:
        """The event's JSON data, decoded when first asked for; None where there is none."""
        if self._data is msgspec.UNSET:
            self._data = _data_of(self.incoming)
        return self._data


class Finding(msgspec.Struct, frozen=True, gc=False):
    """What a policy holds against an event. `code` is stable; `detail` says what was found and what was expected."""

    code: str
    detail: str


Check = Callable[[Case], Finding | None]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """A finding, with the policy's name as `rule` and what is to become of the event."""

    action: Action
    rule: str
    code: str
    detail: str


class _Structured(msgspec.Struct, gc=False):
    data: Any = None
    data_base64: str | None = None


_structured = msgspec.json.Decoder(_Structured).decode
_json = msgspec.json.Decoder().decode


def _data_of(incoming: Incoming) -> Any:
    """Of an event that has been decoded before, so its data is JSON."""
    if "ce-specversion" in incoming.headers:
        return _json(incoming.body) if incoming.body else None
    found = _structured(incoming.body)
    return found.data if found.data_base64 is None else _json(base64.b64decode(found.data_base64))
