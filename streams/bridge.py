"""The bridge process: carries each principal's stream from JetStream to [events]. How one stream is carried: `bridge_stream.py`.

Any number of bridges may run; a lease per stream says who serves it. Here is only who starts what, and what happens after an error:

    Retriable     NATS or the log is away: again, after a short and growing pause; at most one line per 10 s
    Fenced        another bridge serves the stream: wait for the lease
    Gap           messages are missing that nobody explained: say so at once, stop that stream, look again every 30 s
    anything else a fault of ours: say it with its trace, and again after the longest pause; the other streams never notice
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from nats.aio.client import Client

from streams import metrics
from streams.alert_log import AlertLog
from streams.alerts import STREAM_STOPPED, stream_alert
from streams.bridge_links import Links
from streams.bridge_stream import StreamBridge, StreamStatistics
from streams.errors import ConfigError, Fenced, Gap, Retriable
from streams.log_append import AppendFailed
from streams.log_ends import LogAway, LogEnds, Shrunk
from streams.logs import AWAY
from streams.nats_door import ApiError, connect
from streams.nats_streams import CHECKPOINTS, LEASES, bucket_config, ensure, publishers, stream_config
from streams.nats_sync import tell_about_sync
from streams.settings import Settings
from streams.together import finish, run_together
from streams.topic_admin import ensure_topics
from streams.topics import Topics

log = structlog.get_logger(__name__)

_PAUSE_S_MIN = 0.1
_PAUSE_S_MAX = 2.0
_STOPPED_PAUSE_S = 30.0
#: How often the log's ends are looked at, for streams that have nothing to append and so would not notice.
_LOOK_S = 5.0


class BridgeStatistics(msgspec.Struct, frozen=True):
    streams: tuple[StreamStatistics, ...]


class Bridge:
    """`run` it, ask for `statistics`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._streams: list[StreamBridge] = []
        self._alerts = AlertLog(settings)

    def statistics(self) -> BridgeStatistics:
        return BridgeStatistics(tuple(stream.statistics() for stream in self._streams))

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises ConfigError; everything else is waited for, or tried again."""
        await run_together(self._run(), _until(stop))

    async def _run(self) -> None:
        await persist("kafka", lambda: finish(ensure_topics(self._settings)))
        while True:
            control = Client()
            try:
                await self._run_with(control)
            except (Retriable, ApiError) as exc:
                AWAY.warning(log, "nats", "NATS is away; the bridge waits for it", error=str(exc))
            finally:
                await control.close()
            await asyncio.sleep(_PAUSE_S_MAX)

    async def _run_with(self, control: Client) -> None:
        """As long as the control connection lives: it reconnects by itself, and closes only when the server sends it away."""
        nats, closed = self._settings.nats, asyncio.Event()
        user = nats.bridge_user
        await connect(control, nats, user, nats.bridge_password, name=user, on_closed=closed.set)
        await persist("nats", lambda: self._make_streams(control))
        await tell_about_sync(nats)
        ends = LogEnds(self._settings.kafka, Topics(self._settings.kafka.topic_prefix).events)
        names = publishers(self._settings)
        links = Links(self._settings)
        links.alert = self._alerts.tell
        self._streams = [StreamBridge(self._settings, name, control, ends, links) for name in names]
        served = [keep_serving(stream, name, self._alerts) for stream, name in zip(self._streams, names, strict=True)]
        await run_together(_until_closed(closed), _watch(ends), self._alerts.run(), *served)

    async def _make_streams(self, control: Client) -> None:
        """Here a refusal ends the bridge; later, when it is at work, a stream that cannot be made stops only itself."""
        replicas = self._settings.nats.stream_replicas
        await ensure(control, bucket_config(CHECKPOINTS, replicas))
        await ensure(control, bucket_config(LEASES, replicas, self._settings.bridge.lease_ttl_s))
        for name in publishers(self._settings):
            await ensure(control, stream_config(self._settings, name))


async def run_bridge(settings: Settings, stop: asyncio.Event, *, bridge: Bridge | None = None) -> None:
    """The bridge until `stop` is set. Raises ConfigError when it can never work as configured.

    Whoever wants its statistics while it runs makes the `bridge` and passes it.
    """
    await (bridge or Bridge(settings)).run(stop)


async def keep_serving(stream: StreamBridge, principal: str, alerts: AlertLog | None = None) -> None:
    """Serve, and serve again after each error, for ever. What stops a stream is told in `alerts`."""
    pause_s = _PAUSE_S_MIN
    while True:
        before = stream.messages
        try:
            await stream.serve()
        except Exception as exc:
            reason, wait_s = answer(exc, principal)
            if alerts is not None and isinstance(exc, (Gap, ConfigError)):
                alerts.tell(stream_alert(STREAM_STOPPED, principal, str(exc)))
        stream.restarts += 1
        metrics.BRIDGE_RESTARTS.labels(principal, reason).inc()
        pause_s = _PAUSE_S_MIN if stream.messages > before else min(pause_s * 2, _PAUSE_S_MAX)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0) if wait_s is None else wait_s)  # noqa: S311


def answer(exc: Exception, principal: str) -> tuple[str, float | None]:
    """Tell the operator what they need to know; returns the metric's reason, and a pause in seconds or None for the growing one."""
    match exc:
        case Gap() | ConfigError():
            log.error("a stream is stopped", principal=principal, error=str(exc))
            return "gap" if isinstance(exc, Gap) else "config", _STOPPED_PAUSE_S
        case Fenced():
            log.info("another bridge has the stream, or may have it", principal=principal, reason=str(exc))
            return "fenced", None
        case Shrunk():
            return "log_shrank", 0.0
        case AppendFailed() | LogAway():
            AWAY.warning(log, "kafka", "the log is away; the stream waits for it", principal=principal, error=str(exc))
            return "kafka", None
        case Retriable() | ApiError():
            AWAY.warning(log, "nats", "NATS is away; the stream waits for it", principal=principal, error=str(exc))
            return "nats", None
        case _:
            log.error("a stream failed; please report it", principal=principal, exc_info=exc)
            return "error", _PAUSE_S_MAX


async def persist(subject: str, action: Callable[[], Awaitable[None]]) -> None:
    """Do it, and do it again while the other side is away."""
    while True:
        try:
            return await action()
        except (Retriable, ApiError) as exc:
            AWAY.warning(log, subject, "waiting at the start", error=str(exc))
        await asyncio.sleep(_PAUSE_S_MAX / 2)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _until_closed(closed: asyncio.Event) -> None:
    await closed.wait()
    raise Retriable("NATS closed the connection; check the user's password and permissions")


async def _watch(ends: LogEnds) -> None:
    while True:
        await asyncio.sleep(_LOOK_S)
        try:
            await ends.look()
        except LogAway as exc:
            AWAY.warning(log, "kafka", "the log is away", error=str(exc))
