"""Writes decisions: records of [control] and the commands that audit them, in one transaction: what is in effect is in the audit too.

Reading: `control_reader.py`. A transaction in doubt is settled before the next one; its caller is told that nobody knows.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable

import msgspec
import structlog
from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient

from streams.commands import Command
from streams.control import ApiKey, Entry, Hold, control_key
from streams.errors import Fatal, Retriable
from streams.log_transaction import Append, TransactionalWriter, connect
from streams.partition import partition_of
from streams.record_batch import Record
from streams.settings import Kafka
from streams.topics import Topics

_log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode
#: A gateway that dies in the middle holds up every reader of [control] for this long; nobody decides for longer.
_TRANSACTION_TIMEOUT_S = 5.0
_BATCH_BYTES_MAX = 900_000


class ControlLog:
    """One transactional writer with an id of its own, made when it is first needed and again after any doubt."""

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._topics = Topics(settings.topic_prefix)
        self._id = f"{settings.topic_prefix}.gateway.{secrets.token_hex(8)}"
        self._client: AIOKafkaClient | None = None
        self._writer: TransactionalWriter | None = None
        self._one_at_a_time = asyncio.Lock()

    async def decide(
        self,
        *entries: Hold | ApiKey,
        commands: Iterable[tuple[str, Command]],
        forget: Iterable[tuple[type[Entry], str]] = (),
    ) -> int:
        """Put `entries` into [control], take those that are to be forgotten out of it, append the commands: all or nothing.

        Returns the offset of the last record in [control]: what `ControlReader.wait_applied` waits for. Raises Retriable when the log
        did not acknowledge; the decision may or may not have been taken then, a list tells.
        """
        control: list[Record] = [(control_key(type(entry), entry.id), _encode(entry), []) for entry in entries]
        control += [(control_key(kind, ident), None, []) for kind, ident in forget]
        assert control, "a decision without a record is a command: command_log.py"
        appends = [Append(self._topics.control, 0, control), *self._commands(commands)]
        async with self._one_at_a_time:
            offsets = await self._commit(appends)
        return offsets[self._topics.control, 0] + len(control) - 1

    async def aclose(self) -> None:
        self._writer = None
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _commands(self, commands: Iterable[tuple[str, Command]]) -> list[Append]:
        by_partition: defaultdict[int, list[Record]] = defaultdict(list)
        for key, command in commands:
            by_partition[partition_of(key.encode(), self._settings.partitions)].append((key.encode(), _encode(command), []))
        return [Append(self._topics.commands, partition, records) for partition, records in by_partition.items()]

    async def _commit(self, appends: list[Append]) -> dict[tuple[str, int], int]:
        try:
            writer = await self._started()
            return await writer.commit(appends, int(time.time() * 1000))
        except (Fatal, kafka_errors.KafkaError, OSError) as exc:
            _log.warning("a decision is in doubt", error=str(exc))
            await self.aclose()
            raise Retriable(
                f"the log did not acknowledge ({type(exc).__name__}); look whether it has been taken, or try again",
                retry_after_s=5.0,
            ) from exc
        except asyncio.CancelledError:
            await self.aclose()  # in the middle of a transaction: the next one begins by ending it
            raise

    async def _started(self) -> TransactionalWriter:
        if self._writer is None:
            timeout_s = min(self._settings.request_timeout_s, _TRANSACTION_TIMEOUT_S)
            self._client = await connect(self._settings.bootstrap, request_timeout_s=timeout_s)
            writer = TransactionalWriter(
                self._client,
                self._id,
                transaction_timeout_s=_TRANSACTION_TIMEOUT_S,
                deadline_s=timeout_s,
                batch_bytes_max=_BATCH_BYTES_MAX,
            )
            await writer.init()
            self._writer = writer
        return self._writer
