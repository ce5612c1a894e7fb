"""One golden event for each type and version: `<type>.json` as a producer sends it, `<type>.expected.json` as it is understood.

REWRITE_GOLDEN=1 writes the expectations anew; read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from streams.codec import decode_event, split
from streams.events import Incoming
from streams.settings import Limits

GOLDEN = Path(__file__).parents[2] / "golden" / "events"
SENT = sorted(path for path in GOLDEN.glob("*.json") if not path.name.endswith(".expected.json"))


@pytest.mark.parametrize("path", SENT, ids=lambda path: path.stem)
def test_golden_event(path: Path) -> None:
    """Each type, in each version, is understood as its expectation says, and is keyed by the same artifact."""
    incoming = Incoming(path.read_bytes(), {"content-type": "application/cloudevents+json"})
    event = decode_event(incoming, Limits())
    assert [part.key for part in split(incoming, Limits())] == [event.artifact.key]

    understood = msgspec.json.format(msgspec.json.encode(event)) + b"\n"
    expected = path.with_suffix(".expected.json")
    if os.environ.get("REWRITE_GOLDEN"):
        expected.write_bytes(understood)
    assert msgspec.json.decode(understood) == msgspec.json.decode(expected.read_bytes())


def test_every_known_type_has_a_golden_event() -> None:
    """Families of types do not grow without a golden event."""
    stems = {path.stem for path in SENT}
    artifact = {f"dev.cdevents.artifact.{what}" for what in ("packaged", "published", "signed", "deleted")}
    environment = {f"dev.cdevents.environment.{what}" for what in ("created", "modified", "deleted")}
    others = {"dev.cdeventsx.syncmaster-chart.customized", "harbor.artifact.pushed", "harbor.artifact.deleted"}
    others |= {"zotregistry.image.updated", "zotregistry.image.deleted"}
    for type_ in artifact | environment | others:
        assert any(stem.startswith(type_) for stem in stems), type_
