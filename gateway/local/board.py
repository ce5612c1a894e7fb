"""What the terminal shows while the local stack runs: a live table, or plain lines where there is no terminal. Reads the gateway like anybody."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.local.feed import read_report
from gateway.local.stack import Stack

_OUTCOMES = ("accepted", "refused", "quarantined", "duplicate")
_TIMEOUT = aiohttp.ClientTimeout(total=2.0)


class Sight(msgspec.Struct, frozen=True):
    """One look at the stack. `status` is the gateway's, None while it does not answer."""

    at_s: float
    status: dict[str, Any] | None = None
    known: int = 0  # events of this run that JetStream had already: duplicates that never reach the log
    bridge_lag: int = 0
    log_lag: int = 0

    @property
    def outcomes(self) -> Mapping[str, int]:
        counted = {} if self.status is None else self.status["outcomes"]
        return counted | {"duplicate": counted.get("duplicate", 0) + self.known}

    @property
    def judged(self) -> int:
        return sum(self.outcomes.get(outcome, 0) for outcome in _OUTCOMES)


async def look(stack: Stack, session: aiohttp.ClientSession, reports: Iterable[Path]) -> Sight:
    """Never raises: what is away is shown as away."""
    return Sight(
        time.monotonic(),
        await _status(stack, session),
        sum(len(line.keys) for path in reports for line in read_report(path) if line.duplicate),
        await _gauge_sum(f"{stack.side_door_url('bridge')}/metrics", "syncmaster_bridge_lag_messages", session),
        await _gauge_sum(f"{stack.side_door_url('worker')}/metrics", "syncmaster_log_lag_records", session),
    )


async def _status(stack: Stack, session: aiohttp.ClientSession) -> dict[str, Any] | None:
    headers = {"Authorization": f"Bearer {stack.key()}"}
    try:
        async with session.get(f"{stack.gateway_url}/v1/status", headers=headers, timeout=_TIMEOUT) as response:
            return await response.json() if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


async def _gauge_sum(url: str, name: str, session: aiohttp.ClientSession) -> int:
    try:
        async with session.get(url, timeout=_TIMEOUT) as response:
            text = await response.text()
    except (aiohttp.ClientError, TimeoutError):
        return 0
    families = text_string_to_metric_families(text)
    return int(sum(sample.value for family in families if family.name == name for sample in family.samples))


class Board:
    """Turns looks into something to look at."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._last: Sight | None = None
        self._per_s = 0.0
        self._told: str = ""
        self.notice = ""

    def take(self, sight: Sight) -> None:
        if self._last is not None and sight.status is not None and sight.at_s > self._last.at_s:
            now_per_s = max(0, sight.judged - self._last.judged) / (sight.at_s - self._last.at_s)
            self._per_s = 0.5 * self._per_s + 0.5 * now_per_s if now_per_s else now_per_s
        self._last = sight

    def render(self) -> RenderableType:
        sight = self._last
        if sight is None or sight.status is None:
            return Text("the gateway does not answer yet …", style="yellow")
        return Group(self._events(sight), self._components(sight.status), self._footer(sight))

    def line(self) -> str:
        """One plain line, empty if nothing has changed since the last one."""
        sight = self._last
        if sight is None or sight.status is None:
            text = "the gateway does not answer yet"
        else:
            events = " ".join(f"{outcome}={sight.outcomes.get(outcome, 0)}" for outcome in _OUTCOMES)
            behind = " ".join(f"{c['name']}={c['in_sync']}/{c['behind']}/{c['failed']}" for c in sight.status["components"])
            text = f"events {events} lag={sight.bridge_lag + sight.log_lag} in-sync/behind/failed {behind}"
        changed, self._told = text != self._told, text
        return text if changed else ""

    def _events(self, sight: Sight) -> Table:
        table = Table(title="events", title_justify="left", expand=True)
        for column in ("in", *_OUTCOMES, "lag", "events/s"):
            table.add_column(column, justify="right")
        counts = [f"{sight.outcomes.get(outcome, 0):,}" for outcome in _OUTCOMES]
        table.add_row(f"{sight.judged:,}", *counts, f"{sight.bridge_lag + sight.log_lag:,}", f"{self._per_s:,.0f}")
        return table

    def _components(self, status: dict[str, Any]) -> Table:
        table = Table(title="components", title_justify="left", expand=True)
        table.add_column("component")
        for column in ("in sync", "behind", "failed", "delivered", "superseded", "oldest"):
            table.add_column(column, justify="right")
        for component in status["components"]:
            style = "red" if component["failed"] else "yellow" if component["behind"] else "green"
            cells = [f"{component[name]:,}" for name in ("in_sync", "behind", "failed", "delivered", "superseded")]
            table.add_row(component["name"], *cells, f"{component['oldest_s']:.0f} s", style=style)
        return table

    def _footer(self, sight: Sight) -> Text:
        assert sight.status is not None
        state = (
            ("everything is in step", "bold green") if sight.status["in_step"] else ("bringing components in step", "bold yellow")
        )
        lines = Text.assemble(state, "   status page ", (self._stack.gateway_url, "bold cyan"), "   Ctrl-C stops everything")
        return lines.append(f"\n{self.notice}", style="dim") if self.notice else lines
