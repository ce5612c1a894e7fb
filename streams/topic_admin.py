"""Makes the log's topics as the settings say, and checks those that are there. Their names: `topics.py`.

What cannot be changed afterwards is checked rather than mended: with another number of partitions, an artifact would have two writers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.errors import ConfigError, Retriable
from streams.settings import LogSink, Settings
from streams.topics import Topics

_DAY_MS = 86_400_000
_FOREVER = str(2**63 - 1)
#: Room for what Kafka puts around a record, and the door's own header.
RECORD_OVERHEAD_BYTES = 4096
#: An existing topic that differs in one of these is refused.
_CHECKED = ("cleanup.policy", "max.message.bytes")
_TOPIC_EXISTS = 36
_VISIBLE_ATTEMPTS = 100
_VISIBLE_PAUSE_S = 0.1
_CONTROLLER_S_MAX = 10.0


class TopicSpec(msgspec.Struct, frozen=True):
    name: str
    partitions: int
    config: dict[str, str]


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Every topic that SyncMaster needs. Pure."""
    topics, kafka = Topics(settings.kafka.topic_prefix), settings.kafka
    events_retention = {"retention.ms": str(kafka.events_retention_days * _DAY_MS)}
    audit_retention = {"retention.ms": str(kafka.audit_retention_days * _DAY_MS)}
    log_sinks = [name for name, component in settings.components.items() if isinstance(component.sink, LogSink)]
    passing = [topics.events, topics.commands, *(topics.sync(name) for name in sorted(log_sinks))]
    deleted = [(name, events_retention) for name in passing] + [
        (topics.audit, audit_retention),
        (topics.audit_checkpoints, audit_retention),
    ]
    return [
        *(TopicSpec(name, kafka.partitions, _common(settings) | {"cleanup.policy": "delete"} | more) for name, more in deleted),
        *(TopicSpec(name, kafka.partitions, _common(settings) | _COMPACT) for name in topics.changelogs),
        TopicSpec(topics.control, 1, _common(settings) | _COMPACT),
        TopicSpec(topics.alerts, 1, _common(settings) | {"cleanup.policy": "delete"} | events_retention),
    ]


#: Small segments and a low ratio: a rebuild reads what compaction has not reached yet.
_COMPACT = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 << 20),
    "segment.ms": str(_DAY_MS),
    "min.cleanable.dirty.ratio": "0.2",
    "delete.retention.ms": str(_DAY_MS),
}


def _common(settings: Settings) -> dict[str, str]:
    config = {
        "compression.type": "producer",
        "max.message.bytes": str(settings.limits.log_message_bytes_max),
        "message.timestamp.type": "CreateTime",
        # Times are JetStream's: a server whose clock is ahead must not have its events refused for ever.
        "message.timestamp.after.max.ms": _FOREVER,
    }
    if settings.kafka.replication_factor > 1:
        config["min.insync.replicas"] = "2"
    return config


async def ensure_topics(settings: Settings) -> None:
    """Make the missing topics, check the others. Raises ConfigError naming topic and mend, Retriable while the log is away."""
    check_limits(settings)
    async with administering(settings.kafka.bootstrap, settings.kafka.request_timeout_s) as admin:
        specs = {spec.name: spec for spec in topic_specs(settings)}
        partitions = await _partitions(admin)
        await _create(admin, [spec for name, spec in specs.items() if name not in partitions], settings)
        await _check(admin, specs, await _wait_visible(admin, specs))


@contextlib.asynccontextmanager
async def administering(bootstrap: str, request_timeout_s: float = 30.0) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for topics. Raises Retriable while the log is away, also for what is done with it."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=bootstrap, client_id="syncmaster-admin", request_timeout_ms=int(request_timeout_s * 1000)
    )
    try:
        await admin.start()
        await _wait_controller(admin)
        yield admin
    except (kafka_errors.KafkaError, OSError) as exc:
        raise Retriable(f"the log is away: {exc!r}") from exc
    finally:
        await admin.close()


async def _wait_controller(admin: AIOKafkaAdminClient) -> None:
    """A broker that has just started may name none yet, not even itself; aiokafka does not expect that."""
    try:
        async with asyncio.timeout(_CONTROLLER_S_MAX):
            while admin._client.cluster.controller is None:
                await asyncio.sleep(0.05)
                await admin._client.force_metadata_update()
    except TimeoutError as exc:
        raise Retriable("the log does not say who its controller is") from exc


def check_limits(settings: Settings) -> None:
    """The door's largest message, stamped and framed, must fit into the log. Raises ConfigError."""
    limits = settings.limits
    needed = limits.nats_payload_bytes_max + RECORD_OVERHEAD_BYTES
    if limits.log_message_bytes_max < needed:
        raise ConfigError(
            f"limits.log_message_bytes_max is {limits.log_message_bytes_max}, but a message of limits.nats_payload_bytes_max "
            f"needs {needed} in the log; raise the first or lower the second"
        )


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}


async def _wait_visible(admin: AIOKafkaAdminClient, specs: Mapping[str, TopicSpec]) -> dict[str, int]:
    """A broker tells of a topic a moment after it was made; until then nobody can use it, and "exists already" is all one learns."""
    for _ in range(_VISIBLE_ATTEMPTS):
        partitions = await _partitions(admin)
        if specs.keys() <= partitions.keys():
            return {name: partitions[name] for name in specs}
        await asyncio.sleep(_VISIBLE_PAUSE_S)
    raise Retriable("the log has made the topics but does not show them yet")


async def _create(admin: AIOKafkaAdminClient, specs: Iterable[TopicSpec], settings: Settings) -> None:
    replicas = settings.kafka.replication_factor
    new = [NewTopic(spec.name, spec.partitions, replicas, topic_configs=spec.config) for spec in specs]
    if not new:
        return
    for name, code, *message in (await admin.create_topics(new)).topic_errors:
        error = kafka_errors.for_code(code)
        if code in (0, _TOPIC_EXISTS):  # another process was quicker
            continue
        if error.retriable:
            raise Retriable(f"the log cannot make {name} now: {error.__name__}")
        raise ConfigError(
            f"the log refuses to make the topic {name}: {error.__name__} {message[0] if message else ''}; "
            "check kafka.replication_factor against the number of brokers, and the rights of this client"
        )


async def _check(admin: AIOKafkaAdminClient, specs: Mapping[str, TopicSpec], partitions: Mapping[str, int]) -> None:
    configs = await _configs(admin, partitions)
    for name, count in partitions.items():
        spec = specs[name]
        if count != spec.partitions:
            raise ConfigError(
                f"the topic {name} has {count} partitions, the settings say {spec.partitions}, and the number can never change: "
                f"set kafka.partitions to {count}, or choose another kafka.topic_prefix and publish again"
            )
        for key in _CHECKED:
            found = configs[name].get(key)
            if found is not None and found != spec.config[key]:
                raise ConfigError(
                    f"the topic {name} has {key}={found}, the settings need {spec.config[key]}: kafka-configs.sh --alter "
                    f"--entity-type topics --entity-name {name} --add-config {key}={spec.config[key]}"
                )


async def _configs(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answers: list[Any] = await admin.describe_configs(resources) if resources else []
    return {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for answer in answers for resource in answer.resources}
