"""Refused logins and denied calls: counted, and audited in a measure that nobody can use to fill the audit.

The first from an address is a record at once; what follows within the window is counted, and told by one record when the window ends. So
every refusal is in the audit, and an address costs at most two records per window. All addresses together are bounded too.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict

import msgspec
import structlog

from streams import metrics
from streams.command_log import CommandLog
from streams.commands import Command, about_principal
from streams.errors import Retriable

_log = structlog.get_logger(__name__)
_WINDOW_S = 10.0
_SWEEP_S = 1.0
#: Addresses that are remembered; beyond, refusals are counted together, as from "elsewhere".
_REMOTES_MAX = 1000
_WAITING_MAX = 2000
_AGAIN_S = 5.0
ELSEWHERE = "elsewhere"


class Refused(msgspec.Struct, frozen=True):
    """`principal` and `key_id` as far as they are certain; `route` is the declared path, never what was sent, and so is `detail`."""

    code: str
    remote: str
    principal: str = ""
    key_id: str = ""
    route: str = ""
    detail: str = ""


class _Window(msgspec.Struct):
    until_s: float
    last: Refused
    swallowed: int = 0


class Refusals:
    """`refused` never waits and never fails; a task writes. While the log is away the newest are kept, the oldest given up, and said so."""

    def __init__(self, commands: CommandLog) -> None:
        self._commands = commands
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._waiting: OrderedDict[str, Command] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="refusals")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._waiting:
            await self._flush()

    def refused(self, refusal: Refused) -> None:
        metrics.LOGINS_REFUSED.labels(refusal.code).inc()
        now_s = time.monotonic()
        self._sweep(now_s)
        remote = refusal.remote
        if remote not in self._windows and len(self._windows) >= _REMOTES_MAX:
            remote = ELSEWHERE
        window = self._windows.get(remote)
        if window is not None:
            window.swallowed += 1
            window.last = refusal
            return
        self._windows[remote] = _Window(now_s + _WINDOW_S, refusal)
        self._write(refusal, remote, 1)

    def _sweep(self, now_s: float) -> None:
        """Windows are in the order in which they end."""
        while self._windows and next(iter(self._windows.values())).until_s <= now_s:
            remote, window = self._windows.popitem(last=False)
            if window.swallowed:
                self._write(window.last, remote, window.swallowed)

    def _write(self, refusal: Refused, remote: str, count: int) -> None:
        told = "" if count == 1 else f"{count} within {_WINDOW_S:g} s; the last"
        where = f"at {refusal.route}" if refusal.route else ""
        ident = f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(5)}"
        if len(self._waiting) >= _WAITING_MAX:
            self._waiting.popitem(last=False)
            metrics.LOGINS_UNAUDITED.inc()
        self._waiting[ident] = Command(
            ident,
            "record",
            refusal.principal,
            int(time.time() * 1000),
            remote=remote,
            subject=refusal.key_id,
            code=refusal.code,
            detail=" ".join(filter(None, (told, where, refusal.detail))),
        )
        self._news.set()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_SWEEP_S):
                    await self._news.wait()
            except TimeoutError:
                self._sweep(time.monotonic())
            if self._waiting and not await self._flush():
                await asyncio.sleep(_AGAIN_S)

    async def _flush(self) -> bool:
        """Whether all that waited is in the log."""
        self._news.clear()
        batch = list(self._waiting.values())
        try:
            await self._commands.append([(about_principal(command.principal), command) for command in batch])
        except Retriable as exc:
            _log.warning("refused logins cannot be audited yet; they are kept", error=str(exc), waiting=len(batch))
            return False
        for command in batch:
            self._waiting.pop(command.id, None)
        return True
