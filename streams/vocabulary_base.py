"""What every family of event types shares: the shape of a reader, and decoding the data of an event into what it looks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from streams.cloudevents import cut, refuse_json
from streams.errors import Malformed
from streams.events import Artifact

#: (CloudEvents `subject`, data as JSON text, empty where there is none) to the artifact. Raises Malformed.
Reader = Callable[[str | None, msgspec.Raw], Artifact]

T = TypeVar("T")


def decode(decoder: msgspec.json.Decoder[T], data: msgspec.Raw) -> T:
    """The data as the decoder's type; members that it does not name are skipped. Raises Malformed(`data.invalid`, `json.*`)."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as exc:
        raise Malformed("data.invalid", str(exc)[:160]) from None
    except (msgspec.DecodeError, RecursionError) as exc:
        refuse_json(exc)


def without_change(type_: str) -> Malformed:
    """For a type that is known and does not say that an artifact changed."""
    return Malformed(
        "type.unknown", f"{cut(type_)} announces no change of an artifact; expected its producer not to send it here"
    )
