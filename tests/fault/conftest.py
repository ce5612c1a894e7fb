"""What the fault suite is made of: a Kafka of its own, that keeps every marker, and how long and from which seed to run.

SYNCMASTER_FAULT_SEED, SYNCMASTER_FAULT_EVENTS, SYNCMASTER_FAULT_ARTIFACTS and SYNCMASTER_FAULT_RESULT (a file for the result) change the
short form into the long one: `make soak`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.local.kafka import Kafka
from tests.brokers import KAFKA_FOR_TESTS

#: Compaction would take away the markers of earlier turns, by which the model knows the order of the input.
KEEPS_MARKERS = {"log.cleaner.min.compaction.lag.ms": str(24 * 3_600_000)}


class Form(NamedTuple):
    """How much of it."""

    seed: int
    events: int
    artifacts: int
    steps: int
    timeout_s: float
    result: Path | None


@pytest.fixture(scope="session")
def form() -> Form:
    events = int(os.environ.get("SYNCMASTER_FAULT_EVENTS", "6000"))
    result = os.environ.get("SYNCMASTER_FAULT_RESULT")
    return Form(
        seed=int(os.environ.get("SYNCMASTER_FAULT_SEED", "1")),
        events=events,
        artifacts=int(os.environ.get("SYNCMASTER_FAULT_ARTIFACTS", "300")),
        steps=12 if events < 50_000 else 60,
        timeout_s=180 if events < 50_000 else 1800,
        result=Path(result) if result else None,
    )


@pytest.fixture(scope="session")
def the_own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    broker = Kafka(tmp_path_factory.mktemp("own-kafka"), heap_mb=512, overrides=KAFKA_FOR_TESTS | KEEPS_MARKERS)
    broker.start()
    yield broker
    broker.kill9()


@pytest.fixture
def own_kafka(the_own_kafka: Kafka) -> Kafka:
    """A Kafka that tests of this suite may hang, kill and put back to an older state; running."""
    the_own_kafka.resume()
    if not the_own_kafka.running:
        the_own_kafka.start()
    return the_own_kafka
