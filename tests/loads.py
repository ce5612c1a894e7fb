"""Events in quantity, from a seed: interleaved versions of many charts, signed and deleted ones, repeats, forbidden ones, garbage, batches."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from streams.events import Incoming
from streams.producer import Message
from tests.events import digest_of

CHARTS = "c24-chart-generator"
OPERATOR = "operator"
_BATCH = {"content-type": "application/cloudevents-batch+json"}


def chart(name: str, version: str, ident: str, action: str = "published", source: str = "urn:load") -> dict[str, Any]:
    """A CDEvents artifact event about `chart/<name>`, as small as it can be."""
    purl = f"pkg:generic/{name}@{version}?checksum={digest_of(name + version + ident)}"
    type_ = f"dev.cdevents.artifact.{action}.0.2.0"
    return {
        "specversion": "1.0",
        "id": ident,
        "source": source,
        "type": type_,
        "datacontenttype": "application/json",
        "data": {"context": {"id": ident}, "subject": {"id": purl, "content": {}}, "customData": {"kind": "chart"}},
    }


def message(*events: dict[str, Any]) -> Message:
    """One event in structured mode; several as a batch."""
    if len(events) == 1:
        return Message("load", Incoming(encode(events[0])))
    return Message("load", Incoming(encode(list(events)), _BATCH))


def encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def versions_of(charts: int, versions: int, *, prefix: str = "chart", source: str = "urn:load") -> Iterator[Message]:
    """Every version of every chart, oldest first, charts interleaved."""
    for version in range(versions):
        for number in range(charts):
            name = f"{prefix}-{number}"
            yield message(chart(name, f"1.{version}.0", f"{name}-{version}", source=source))


def mixed(seed: int, count: int, charts: int, *, source: str) -> Iterator[Message]:
    """About `count` events over `charts` charts. The same seed gives the same messages, to the byte."""
    rng = random.Random(f"{seed} {source}")
    latest: dict[int, int] = {}
    recent: list[dict[str, Any]] = []
    made = 0
    while made < count:
        kind = rng.random()
        if kind < 0.01:
            yield Message("load", Incoming(rng.choice([b"garbage %d", b'{"specversion":"1.0","id":%d', b"[[%d]]"]) % made))
            made += 1
        elif kind < 0.02:
            yield message(_forbidden(made, source))
            made += 1
        elif kind < 0.04 and recent:
            yield message(rng.choice(recent))
            made += 1
        else:
            events = [_event(rng, latest, charts, f"{made + index}", source) for index in range(3 if kind < 0.05 else 1)]
            recent = (recent + events)[-3:]
            yield message(*events)
            made += len(events)


def _event(rng: random.Random, latest: dict[int, int], charts: int, ident: str, source: str) -> dict[str, Any]:
    number = min(int(rng.expovariate(6.0) * charts), charts - 1)  # some are much busier than others
    top = latest.get(number, -1)
    what = rng.random()
    if what < 0.1 and top >= 0:
        return chart(
            f"chart-{number}", f"1.{rng.randint(max(0, top - 3), top)}.0", ident, rng.choice(["signed", "deleted"]), source
        )
    if what < 0.2 and top >= 0:
        return chart(f"chart-{number}", f"1.{rng.randint(max(0, top - 3), top)}.0", ident, "published", source)
    latest[number] = top + 1
    return chart(f"chart-{number}", f"1.{top + 1}.0", ident, "published", source)


def _forbidden(number: int, source: str) -> dict[str, Any]:
    """Of a type that the chart generator may not announce, about what it may not touch."""
    event = chart(f"stolen-{number}", "1.0.0", f"stolen-{number}", source=source)
    event["data"]["customData"]["kind"] = "image"
    return event
