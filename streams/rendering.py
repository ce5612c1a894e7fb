"""An accepted event as a delivery sends it: the producer's attributes, those that the door stamped, the data. Headers: `ce_headers.py`.

Not on the hot path: rendered from the stored version when a component is due.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from streams.cloudevents import is_json, read
from streams.envelope import STAMPED
from streams.events import Incoming
from streams.ingress import Ingress

JSON = "application/json"


def accepted_attributes(incoming: Incoming, ingress: Ingress) -> tuple[dict[str, str], bytes, str]:
    """(attributes with extensions as strings, data, content type) of an event that was accepted; the stamps overwrite what was sent.

    `datacontenttype` is the third part and not among the attributes. No limit is looked at again: what was accepted can be sent.
    """
    envelope, extensions = read(incoming)
    own = {name: getattr(envelope, name) for name in ("specversion", "id", "source", "type", "time", "subject", "dataschema")}
    attributes = {
        name: _canonical(value) for name, value in (own | extensions).items() if value is not None and name not in STAMPED
    }
    data = base64.b64decode(envelope.data_base64) if envelope.data_base64 is not None else bytes(envelope.data)
    return attributes | stamps(ingress), data, envelope.datacontenttype or JSON


def stamps(ingress: Ingress) -> dict[str, str]:
    """The extension attributes that the door answers for."""
    seconds, ms = divmod(ingress.ingress_ms, 1000)
    return {
        "smprincipal": ingress.principal,
        "smcluster": ingress.cluster,
        "smingress": ingress.door,
        "recordedtime": f"{_second(seconds)}.{ms:03d}Z",
    }


@lru_cache(maxsize=64)
def _second(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def to_structured(attributes: Mapping[str, str], data: bytes, content_type: str = JSON) -> bytes:
    """One CloudEvent in the JSON format. JSON data is embedded as it is, other data as `data_base64`."""
    members: dict[str, object] = {**attributes, "datacontenttype": content_type}
    if data and is_json(content_type):
        members["data"] = msgspec.Raw(data)
    elif data:
        members["data_base64"] = base64.b64encode(data).decode()
    return msgspec.json.encode(members)


def _canonical(value: object) -> str:
    """CloudEvents' canonical string of an attribute: booleans and integers as in JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
