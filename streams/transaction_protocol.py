"""The requests of Kafka's transaction protocol, version 2 (KIP-890), which aiokafka does not have; its types and framing are aiokafka's.

What is better about it: a produce request adds its partitions to the transaction by itself, and every transaction has an epoch of its own, so
nothing that arrives late can touch the next one. A cluster speaks it when its feature `transaction.version` is 2 or higher,
which brokers of Kafka 4 make it when they format a new one.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

_FINALIZED_FEATURES = 2  # the tag
_TEXT, _TAGS = CompactString("utf-8"), ("tags", TaggedFields)
_FEATURES = CompactArray(("name", _TEXT), ("max_version_level", Int16), ("min_version_level", Int16), _TAGS)


async def transaction_version(client: AIOKafkaClient, node: int) -> int:
    """Which version of the protocol the cluster of that broker has agreed on; 1 where it has not heard of versions."""
    response = await client.send(node, ApiVersionsRequest())
    raw = response.tags.get(_FINALIZED_FEATURES)
    levels = {} if raw is None else {name: level for name, level, *_ in _FEATURES.decode(BytesIO(raw)) or ()}
    return int(levels.get("transaction.version", 1))


class ApiVersionsResponse_v3(Response):  # noqa: N801 - as aiokafka names them
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        ("api_keys", CompactArray(("api_key", Int16), ("min_version", Int16), ("max_version", Int16), _TAGS)),
        ("throttle_time_ms", Int32),
        _TAGS,
    )


class ApiVersionsRequest_v3(RequestStruct):  # noqa: N801
    API_KEY = 18
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ApiVersionsResponse_v3
    SCHEMA = Schema(("client_software_name", _TEXT), ("client_software_version", _TEXT), _TAGS)

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> ResponseHeader_v0:
        """Without tags, always: a client that asks does not know yet what the broker speaks."""
        return ResponseHeader_v0.decode(read_buffer)


class ApiVersionsRequest(Request[ApiVersionsRequest_v3]):
    API_KEY = 18

    def build(self, request_struct_class: type[ApiVersionsRequest_v3]) -> ApiVersionsRequest_v3:
        return request_struct_class("syncmaster", "1", {})


class ProduceResponse_v12(Response):  # noqa: N801
    API_KEY = 0
    API_VERSION = 12
    _ERROR = CompactArray(("batch_index", Int32), ("message", _TEXT), _TAGS)
    _PARTITION = CompactArray(
        ("partition", Int32),
        ("error_code", Int16),
        ("offset", Int64),
        ("timestamp", Int64),
        ("log_start_offset", Int64),
        ("record_errors", _ERROR),
        ("error_message", _TEXT),
        _TAGS,
    )
    SCHEMA = Schema(
        ("topics", CompactArray(("topic", _TEXT), ("partitions", _PARTITION), _TAGS)),
        ("throttle_time_ms", Int32),
        _TAGS,
    )


class ProduceRequest_v12(RequestStruct):  # noqa: N801
    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ProduceResponse_v12
    _PARTITION = CompactArray(("partition", Int32), ("messages", CompactBytes), _TAGS)
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("required_acks", Int16),
        ("timeout", Int32),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", _PARTITION), _TAGS)),
        _TAGS,
    )


class ProduceInTransaction(Request[ProduceRequest_v12]):
    """Acknowledged by all in-sync replicas. Its partitions become part of the transaction."""

    API_KEY = 0
    required_acks = -1

    def __init__(self, transactional_id: str, timeout_ms: int, topics: list[tuple[str, list[tuple[int, bytes]]]]) -> None:
        self._transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self._topics = topics

    def build(self, request_struct_class: type[ProduceRequest_v12]) -> ProduceRequest_v12:
        topics: list[Any] = [(topic, [(partition, raw, {}) for partition, raw in batches], {}) for topic, batches in self._topics]
        return request_struct_class(self._transactional_id, self.required_acks, self._timeout_ms, topics, {})


class EndTxnResponse_v5(Response):  # noqa: N801
    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16), ("producer_id", Int64), ("producer_epoch", Int16), _TAGS)


class EndTxnRequest_v5(RequestStruct):  # noqa: N801
    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponse_v5
    SCHEMA = Schema(("transactional_id", _TEXT), ("producer_id", Int64), ("producer_epoch", Int16), ("committed", Boolean), _TAGS)


class EndTransaction(Request[EndTxnRequest_v5]):
    """The answer has the id and the epoch of the next transaction."""

    API_KEY = 26

    def __init__(self, transactional_id: str, producer_id: int, epoch: int, committed: bool) -> None:
        self._fields = (transactional_id, producer_id, epoch, committed)

    def build(self, request_struct_class: type[EndTxnRequest_v5]) -> EndTxnRequest_v5:
        return request_struct_class(*self._fields, {})
