"""The bundled sample holds what its docstring promises, under the configuration that ships."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml

import gateway.local
from gateway.local.sample import sample_events
from streams.codec import decode_event, split
from streams.errors import Malformed
from streams.events import Action, Event
from streams.settings import Limits, glob

PARTS = [(message.principal, part) for message in sample_events() for part in split(message.incoming, Limits())]
EVENTS = [(principal, decode_event(part.incoming, Limits())) for principal, part in PARTS if part.error is None]


def allowed(principal: str, event: Event) -> bool:
    config = yaml.safe_load((Path(gateway.local.__file__).parent / "orbit.yaml").read_text())
    return any(
        any(glob(pattern).fullmatch(event.type) for pattern in rule["types"])
        and any(glob(pattern).fullmatch(event.artifact.key) for pattern in rule["artifacts"])
        for binding in config["bindings"]
        for rule in config["roles"][binding["role"]]["rules"]
        if principal in binding.get("principals", ()) and "publish" in rule["verbs"]
    )


def test_sample_has_events_of_all_kinds() -> None:
    """Images, charts and environments, several versions each, published, signed, customized and deleted."""
    versions = Counter(event.artifact.key for _, event in EVENTS)
    assert {key.partition("/")[0] for key in versions} == {"image", "chart", "environment"}
    assert min(versions.values()) > 1
    assert {event.artifact.action for _, event in EVENTS} == set(Action)


def test_sample_has_both_modes_and_a_batch() -> None:
    """Structured, binary, and one message with three events."""
    assert {"ce-specversion" in part.incoming.headers for _, part in PARTS} == {True, False}
    assert len(PARTS) == len(sample_events()) + 2


def test_sample_has_one_of_each_fault() -> None:
    """One event is malformed, one repeats an id, one is not its principal's to publish."""
    assert [part.error.code for _, part in PARTS if isinstance(part.error, Malformed)] == ["json.invalid"]
    repeated = Counter((principal, event.source, event.id) for principal, event in EVENTS)
    assert sorted(repeated.values())[-2:] == [1, 2]
    assert [event.artifact.key for principal, event in EVENTS if not allowed(principal, event)] == ["chart/portal"]
