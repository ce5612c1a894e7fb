"""A gateway over stores that a test fills by hand: everything is the real thing but the follower, NATS and the log."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import ClientResponse, DummyCookieJar
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from agents.authz import Authorizer
from gateway.alerting.recent import RecentAlerts
from gateway.app import build_app
from gateway.auth import Keyring
from gateway.context import Context
from gateway.refusals import Refusals
from streams.commands import Command, Operation
from streams.control import Entry, control_key
from streams.control_reader import ControlReader
from streams.errors import Retriable
from streams.events import Incoming
from streams.ingress import Mark
from streams.partition import partition_of
from streams.publisher import DoorState, Published
from streams.settings import Settings
from tables.audit_record import AuditRecord, Outcome
from tables.index import AuditIndex
from tables.model import (
    MARKER_KEY,
    Head,
    Kept,
    Lot,
    Marker,
    Provenance,
    Quarantined,
    Sync,
    SyncState,
    Version,
    lot_key,
    quarantine_key,
    version_key,
)
from tables.queries import Queries
from tables.replica import Progress
from tables.status import Status
from tables.store import Batch, Stores
from tests.brokers import orbit
from tests.events import FakeRecord

PARTITIONS = 4
NOW_MS = 1_795_000_000_000
_encode = msgspec.json.encode


class FakeReplica:
    """Applies what a test writes, at once."""

    def __init__(self, stores: Stores) -> None:
        self.ready = True
        self.polled_at_s = time.monotonic()
        self.stores = stores
        self.behind = 0

    def progress(self) -> dict[int, Progress]:
        return {partition: Progress(100, 100 + self.behind) for partition in self.stores.partitions()}

    async def wait_marker(self, partition: int, reached: Callable[[Marker], bool], timeout_s: float) -> bool:
        return reached(self.stores[partition].marker())


class FakePublisher:
    """JetStream with one stream per principal; a message id that was seen before is a duplicate."""

    def __init__(self) -> None:
        self.state = DoorState.CONNECTED
        self.fails_after: int | None = None
        self.published: list[tuple[str, Incoming]] = []
        self._seen: dict[tuple[str, str, str], int] = {}

    async def publish(self, principal: str, incoming: Incoming, *, source: str, event_id: str) -> Published:
        if self.fails_after is not None and len(self.published) >= self.fails_after:
            raise Retriable("NATS is away", retry_after_s=2.0)
        seen = (principal, source, event_id) in self._seen
        sequence = self._seen.setdefault((principal, source, event_id), len(self._seen) + 1)
        self.published.append((principal, incoming))
        return Published(f"SM_IN_{principal}", 2, sequence, seen)


class FakeLog:
    """[commands] and [control]; what is recorded is read at once."""

    def __init__(self, control: ControlReader) -> None:
        self.commands: list[tuple[str, Command]] = []
        self.ends: Counter[int] = Counter()
        self.away = False
        self._control = control

    async def append(self, commands: Iterable[tuple[str, Command]]) -> dict[int, int]:
        if self.away:
            raise Retriable("the log did not acknowledge", retry_after_s=5.0)
        touched = set()
        for key, command in commands:
            self.commands.append((key, command))
            self.ends[partition_of(key.encode(), PARTITIONS)] += 1
            touched.add(partition_of(key.encode(), PARTITIONS))
        return {partition: self.ends[partition] for partition in touched}

    async def record(self, operation: Operation, *, forget: str | None = None) -> None:
        self._control.take([FakeRecord(0, control_key(Operation, operation.id), _encode(operation), ())])

    async def decide(
        self, *entries: Entry, commands: Iterable[tuple[str, Command]], forget: Iterable[tuple[type[Entry], str]] = ()
    ) -> int:
        await self.append(commands)
        self._control.take([FakeRecord(0, control_key(type(entry), entry.id), _encode(entry), ()) for entry in entries])
        self._control.take([FakeRecord(0, control_key(kind, ident), None, ()) for kind, ident in forget])  # type: ignore[arg-type]
        return -1


class World:
    """One gateway. Fill it with `artifact`, `version`, `quarantined`, `audit`, `marker`; ask it with `get` and `post`."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        changes = {"kafka": {"partitions": PARTITIONS}, "gateway": {"read_wait_s_max": 0.2}} | changes
        self.settings: Settings = orbit(directory, **changes)
        self.stores = Stores(directory / "stores")
        for partition in range(PARTITIONS):
            self.stores.open(partition)
        self.replica = FakeReplica(self.stores)
        self.status = Status(self.stores)
        self.index = AuditIndex(directory / "audit.sqlite")
        self.control = ControlReader(self.settings.kafka)
        self.control.ready = True
        self.publisher = FakePublisher()
        self.control.fresh_at = float("inf")
        self.log = FakeLog(self.control)
        self.refusals = Refusals(self.log)  # type: ignore[arg-type]
        self.alerts = RecentAlerts(self.settings.kafka)
        self.alerts.ready = True
        self.client: TestClient[Any, Any]
        self._audit_seq: Counter[int] = Counter()

    async def __aenter__(self) -> World:
        context = Context(
            settings=self.settings,
            replica=self.replica,
            queries=Queries(self.stores, PARTITIONS),
            status=self.status,
            audit=self.index,
            audit_follower=self.control,  # anything with `ready`
            publisher=self.publisher,  # type: ignore[arg-type]
            commands=self.log,  # type: ignore[arg-type]
            control=self.control,
            control_log=self.log,  # type: ignore[arg-type]
            refusals=self.refusals,
            alerts=self.alerts,
        )
        self.context = context
        self.keyring = Keyring(self.settings, Authorizer(self.settings), self.control)
        self.client = TestClient(TestServer(build_app(context, self.keyring)), cookie_jar=DummyCookieJar())
        await self.client.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        self.stores.close_all()
        self.index.close()

    def rule(self, principal: str, *rules: dict[str, Any]) -> None:
        """From now on these are all the rules that this principal has."""
        role, content = f"of-{principal}", self.settings.model_dump(exclude={"roles", "bindings"})
        content["principals"][principal]["groups"] = ()
        bindings = [binding.model_dump() for binding in self.settings.bindings]
        for binding in bindings:
            binding["principals"] = [name for name in binding["principals"] if name != principal]
        content["roles"] = {**self.settings.roles, **({role: {"rules": rules}} if rules else {})}
        content["bindings"] = [*bindings, *([{"name": role, "role": role, "principals": [principal]}] if rules else [])]
        self.keyring.authorizer = Authorizer(Settings.model_validate(content))

    # -- asking --------------------------------------------------------------------------------------------------------------

    def key_of(self, principal: str) -> str:
        return self.settings.principals[principal].api_keys[0].reveal()

    async def get(self, path: str, *, by: str | None = "operator", headers: dict[str, str] | None = None) -> ClientResponse:
        return await self.request("GET", path, by=by, headers=headers)

    async def post(
        self, path: str, *, by: str | None = "operator", headers: dict[str, str] | None = None, **body: Any
    ) -> ClientResponse:
        return await self.request("POST", path, by=by, headers=headers, **body)

    async def request(
        self, method: str, path: str, *, by: str | None = None, headers: dict[str, str] | None = None, **body: Any
    ) -> ClientResponse:
        """`path` goes out as it is, percent-encoding included."""
        if isinstance(body.get("data"), bytes):
            body["data"] = io.BytesIO(body["data"])  # as aiohttp wants large ones
        authorization = {"Authorization": f"Bearer {self.key_of(by)}"} if by else {}
        url = self.client.make_url("/").join(_encoded(path))
        return await self.client.session.request(
            method, url, headers=authorization | (headers or {}), allow_redirects=False, **body
        )

    async def pages(self, path: str) -> list[list[dict[str, Any]]]:
        """All pages of a list, by its links."""
        pages, next_path = [], path
        while True:
            response = await self.get(next_path)
            assert response.status == 200, await response.text()
            pages.append((await response.json())["items"])
            if "Link" not in response.headers:
                return pages
            next_path = response.headers["Link"].partition("<")[2].partition(">")[0]

    # -- filling -------------------------------------------------------------------------------------------------------------

    def artifact(self, key: str, *, generation: int = 1, version: str = "1.0.0", **sync: Sync) -> None:
        provenance = Provenance(
            f"id-{key}", "urn:test", "dev.cdevents.artifact.published.0.2.0", "c24", "SM_IN_c24", (1, 7, 0), NOW_MS, "test"
        )
        head = Head(
            version=version, digest="sha256:" + "0" * 64, generation=generation, provenance=provenance, sync=sync, accepted=1
        )
        self._write("artifacts", key, key.encode(), _encode(head))
        self.status.changed(self.partition(key), [key.encode()])

    def version(self, key: str, version: str, generation: int) -> None:
        ingress = f"SM_IN_c24 1 {generation} 0 {NOW_MS} nats c24 test"
        record = Version(generation, None, "published", ingress, {}, msgspec.Raw(b"{}"), accepted_ms=NOW_MS)  # type: ignore[arg-type]
        self._write("versions", key, version_key(key, version), _encode(record))

    def quarantined(self, key: str, ident: str, *, principal: str = "c24", body_base64: str = "AAE=", **fields: Any) -> None:
        told = {"reason": "json.invalid", "detail": "not JSON", "rule": "decode", "at_ms": NOW_MS} | fields
        message = Quarantined(
            principal=principal, ingress="ingress", headers={"content-type": "x"}, body_base64=body_base64, **told
        )
        self._write("quarantine", key, quarantine_key(key, ident), _encode(message))

    def parked(self, key: str, waiting: int, *, rule: str = "no-bad", draining: bool = False) -> list[str]:
        """The artifact, parked by an event, and others behind it. Ids in order."""
        idents = [f"parked-{number:020d}" for number in range(waiting)]
        for number, ident in enumerate(idents):
            kept = Kept.QUEUED if number or draining else Kept.PARKED
            self.quarantined(key, ident, kept=kept, reason="artifact.parked" if number else "source.denied", rule=rule)
        lot = Lot(front="" if draining else idents[0], rule=rule, since_ms=NOW_MS, queued=waiting - (not draining))
        self._write("quarantine", key, lot_key(key), _encode(lot))
        return idents

    def audit(self, outcome: Outcome, *, artifact: str, source: str = "urn:test", event_id: str = "e1", **fields: Any) -> None:
        partition = self.partition(artifact)
        seq = self._audit_seq[partition]
        self._audit_seq[partition] += 1
        record = AuditRecord(
            f"a-{partition}-{seq}", seq, NOW_MS + seq, outcome, artifact, source=source, event_id=event_id, **fields
        )
        self.index.apply_audit(partition, seq + 1, [_encode(record)])

    def marker(self, partition: int, *, commands: int = 0, marks: dict[str, Mark] | None = None, audit_seq: int = 0) -> None:
        batch = Batch()
        batch.apply("artifacts", MARKER_KEY, _encode(Marker(commands=commands, marks=marks or {}, audit_seq=audit_seq)))
        self.stores[partition].write(batch)

    def partition(self, key: str) -> int:
        return partition_of(key.encode(), PARTITIONS)

    def _write(self, table: str, artifact: str, key: bytes, value: bytes) -> None:
        batch = Batch()
        batch.apply(table, key, value)
        self.stores[self.partition(artifact)].write(batch)


def segment(text: str) -> str:
    return quote(text, safe="")


def in_sync(**fields: Any) -> Sync:
    return Sync(
        **{"desired": 1, "delivered": 1, "version": "1.0.0", "state": SyncState.IN_SYNC, "since_ms": NOW_MS, "deliveries": 1}
        | fields
    )


def behind(since_ms: int = NOW_MS, **fields: Any) -> Sync:
    return Sync(**{"desired": 2, "delivered": 1, "version": "1.0.0", "state": SyncState.BEHIND, "since_ms": since_ms} | fields)


def failed(since_ms: int = NOW_MS, **fields: Any) -> Sync:
    return behind(since_ms, **{"state": SyncState.FAILED, "last_error": "404 gone for good"} | fields)


def _encoded(path: str) -> URL:
    return URL(path, encoded=True)
