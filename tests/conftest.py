"""Fixtures of the whole suite: real brokers. Everything else is in tests/brokers.py or beside the tests that use it.

`kafka` and `nats_server` are shared by the session: tests keep apart by `topic_prefix` and may pause or kill them; the next test finds
them running. `fresh_kafka` (about 8 s) and `fresh_nats` (0.1 s) are a test's own, empty at its start. Streams in NATS are named after
principals, so tests that make them take `fresh_nats`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.local.kafka import Kafka
from gateway.local.nats_server import NatsServer
from streams.settings import Settings
from tests.brokers import KAFKA_FOR_TESTS, orbit


@pytest.fixture(scope="session")
def session_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    yield from _kafka(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def kafka(session_kafka: Kafka) -> Kafka:
    """The session's Kafka, running whatever the test before did to it: `.bootstrap`, `start`, `stop`, `kill9`, `pause`, `resume`."""
    session_kafka.resume()
    if not session_kafka.running:
        session_kafka.start()
    return session_kafka


@pytest.fixture
def fresh_kafka(tmp_path: Path) -> Iterator[Kafka]:
    """A Kafka of the test's own."""
    yield from _kafka(tmp_path / "kafka")


@pytest.fixture
def topic_prefix() -> str:
    """Unique in the session, and good as `settings.kafka.topic_prefix`."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def session_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return orbit(tmp_path_factory.mktemp("orbit"))


@pytest.fixture(scope="session")
def session_nats(tmp_path_factory: pytest.TempPathFactory, session_settings: Settings) -> Iterator[NatsServer]:
    yield from _nats(tmp_path_factory.mktemp("nats"), session_settings)


@pytest.fixture
def nats_server(session_nats: NatsServer) -> NatsServer:
    """The session's nats-server with the principals of `session_settings`: `.url`, `start`, `stop`, `kill9`, `pause`, `resume`."""
    session_nats.resume()
    if not session_nats.running:
        session_nats.start()
    return session_nats


@pytest.fixture
def orbit_settings(tmp_path: Path) -> Settings:
    """The Orbit topology in short with secrets of the test's own; `fresh_nats` runs with it."""
    return orbit(tmp_path)


@pytest.fixture
def fresh_nats(tmp_path: Path, orbit_settings: Settings) -> Iterator[NatsServer]:
    """A nats-server of the test's own, with the principals of `orbit_settings`."""
    yield from _nats(tmp_path / "nats", orbit_settings)


def _kafka(directory: Path) -> Iterator[Kafka]:
    broker = Kafka(directory, heap_mb=384, overrides=KAFKA_FOR_TESTS)
    broker.start()
    yield broker
    broker.kill9()  # nobody reads what it would tidy up


def _nats(directory: Path, settings: Settings) -> Iterator[NatsServer]:
    server = NatsServer(directory, settings)
    server.start()
    yield server
    server.kill9()
