"""How a serving reaches JetStream and the log, and whose time it goes by: the one seam where a simulation puts its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from streams.alerts import Alert
from streams.log_append import LogAppender
from streams.nats_door import connect
from streams.nats_pull import PullClient
from streams.settings import Settings
from streams.topics import Topics


class Links:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: Tells people; must not block and must not raise.
        self.alert: Callable[[Alert], object] = lambda _: None

    def make_appender(self) -> LogAppender:
        """For [events], not yet started."""
        return LogAppender(self._settings.kafka, Topics(self._settings.kafka.topic_prefix).events)

    def make_pull_client(self) -> PullClient:
        return PullClient()

    async def connect(self, client: PullClient, stream: str) -> None:
        """Once: a lost connection ends the serving. Raises Retriable."""
        nats = self._settings.nats
        await connect(client, nats, nats.bridge_user, nats.bridge_password, name=f"{stream} pulls", reconnect=False)

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()
