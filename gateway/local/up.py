"""`syncmaster up`: starts the stack, lets producers publish, shows what happens; with `--once` waits for the end and accounts for every event."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.live import Live

from gateway.cli.publish import read_index
from gateway.local.account import Account, AuditTail
from gateway.local.board import Board, look
from gateway.local.compare import differences
from gateway.local.feed import Line, read_report
from gateway.local.process import Child
from gateway.local.sample import sample_events
from gateway.local.stack import Stack
from streams.errors import Retriable, SyncMasterError

_DIRECTORY = Path(".syncmaster")
_CHARTS_PRINCIPAL = "c24-chart-generator"
#: A person who watches wants to see events flow; nobody watches `--once`.
_SAMPLE_PER_S = 8.0
_LOOK_EVERY_S = 0.5
_LINE_EVERY_S = 3.0


class Options(msgspec.Struct, frozen=True):
    config: Path | None = None
    index: str | None = None
    once: bool = False
    timeout_s: float = 600.0


def up_command(options: Options) -> int:
    """The exit code: 0, or 1 with the reason on stderr."""
    console = Console(stderr=True)
    stack: Stack | None = None
    code = 1
    try:
        stack = Stack(_DIRECTORY, options.config, lambda text: console.print(text, style="dim", highlight=False))
        code = asyncio.run(_run(stack, options, console))
    except SyncMasterError as exc:
        console.print(str(exc), style="red", highlight=False, markup=False)
    except KeyboardInterrupt:
        code = 1 if options.once else 0
    finally:
        if stack is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            console.print("stopping everything", style="dim")
            stack.stop()
    return code


async def _run(stack: Stack, options: Options, console: Console) -> int:
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    assert me is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a closed terminal stops it in order, too
        loop.add_signal_handler(number, me.cancel)
    try:
        started_s = time.monotonic()
        index = _local_index(stack, options.index)
        await asyncio.to_thread(stack.start)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=8)) as session:
            if options.once:
                return await _once(stack, options, index, session, started_s)
            await _watch(stack, options, index, session, console)
    except asyncio.CancelledError:
        return 1 if options.once else 0
    return 0


# -- events ------------------------------------------------------------------------------------------------------------------------


def _local_index(stack: Stack, place: str | None) -> Path | None:
    """The index as a file; fetched first if it is a URL, so that a wrong address is told before anything starts."""
    if place is None:
        return None
    try:
        text = read_index(place)
    except OSError as exc:
        raise Retriable(f"cannot read the index {place}: {exc}; give the path or the URL of an index.yaml") from exc
    path = stack.directory / "index.yaml"
    path.write_bytes(text)
    return path


def _start_feeds(stack: Stack, options: Options, index: Path | None, per_s_max: float) -> tuple[list[Child], list[Path]]:
    reports = stack.directory / "reports"
    reports.mkdir(exist_ok=True)
    if index is not None:
        arguments = {_CHARTS_PRINCIPAL: ["--index", str(index), "--place", options.index or ""]}
    else:
        principals = dict.fromkeys(event.principal for event in sample_events())
        arguments = {name: ["--per-s-max", str(per_s_max)] for name in principals if name in stack.settings.principals}
    paths = {name: reports / f"{name}.jsonl" for name in arguments}
    for path in paths.values():
        path.unlink(missing_ok=True)
    return [stack.start_feed(name, paths[name], given) for name, given in arguments.items()], list(paths.values())


# -- watching ----------------------------------------------------------------------------------------------------------------------


async def _watch(stack: Stack, options: Options, index: Path | None, session: aiohttp.ClientSession, console: Console) -> None:
    """Until Ctrl-C."""
    feeds, reports = _start_feeds(stack, options, index, _SAMPLE_PER_S)
    board = Board(stack)
    console.print(f"status page and API: {stack.gateway_url}   key: {stack.run_file()}", highlight=False)
    if console.is_terminal:
        with Live(board.render(), console=console, refresh_per_second=4) as live:
            while True:
                await _step(stack, board, feeds, reports, session)
                live.update(board.render())
    told_s = 0.0
    while True:
        await _step(stack, board, feeds, reports, session)
        if time.monotonic() - told_s > _LINE_EVERY_S and (line := board.line()):
            told_s = time.monotonic()
            console.print(line, highlight=False, soft_wrap=True)


async def _step(stack: Stack, board: Board, feeds: list[Child], reports: list[Path], session: aiohttp.ClientSession) -> None:
    board.take(await look(stack, session, reports))
    await asyncio.to_thread(stack.watch)
    publishing = [child.name.removeprefix("feed-") for child in feeds if child.running]
    failed = [f"{child.name} failed, see {child.log}" for child in feeds if child.exit_code]
    board.notice = "; ".join(failed) or (f"publishing: {', '.join(publishing)}" if publishing else "all events are published")
    await asyncio.sleep(_LOOK_EVERY_S)


# -- once --------------------------------------------------------------------------------------------------------------------------


async def _once(stack: Stack, options: Options, index: Path | None, session: aiohttp.ClientSession, started_s: float) -> int:
    tail, account = AuditTail(stack.settings), Account()
    await tail.start()
    lines: list[Line] = []
    differing: list[str] = []
    in_sync = False
    reason = ""
    try:
        async with asyncio.timeout(options.timeout_s):
            feeds, reports = _start_feeds(stack, options, index, 0.0)
            lines = await _published(stack, feeds, reports, tail, account)
            await _in_sync(stack, session, tail, account)
            in_sync = True
            differing = await differences(stack, session)
    except TimeoutError:
        reason = f"not reached within {options.timeout_s:g} s: {account.missing(lines)} events without an outcome, or components behind"
    except (Retriable, aiohttp.ClientError) as exc:
        reason = str(exc)
    finally:
        await tail.aclose()
    reason = reason or "; ".join(differing[:5])
    print(json.dumps(_result(stack, account, lines, in_sync=in_sync, match=in_sync and not differing, started_s=started_s)))
    if reason:
        print(reason, file=sys.stderr)
    return 1 if reason else 0


async def _published(stack: Stack, feeds: list[Child], reports: list[Path], tail: AuditTail, account: Account) -> list[Line]:
    """Wait until every event is acknowledged and has its outcome."""
    while True:
        await asyncio.to_thread(stack.watch)
        account.add(await tail.poll(0.2))
        for feed in feeds:
            if feed.exit_code:
                raise Retriable(f"{feed.name} failed; its log {feed.log} ends with:\n{feed.tail()}")
        lines = [line for path in reports for line in read_report(path)]
        if sum(line.done for line in lines) == len(reports):
            messages = [line for line in lines if not line.done]
            if not account.missing(messages):
                return messages


async def _in_sync(stack: Stack, session: aiohttp.ClientSession, tail: AuditTail, account: Account) -> None:
    """Wait until the gateway knows all of it and says that every component is in step; take in the receipts' records too."""
    query = "&".join(f"min_token={token}" for token in account.tokens())
    headers = {"Authorization": f"Bearer {stack.key()}"}
    while True:
        await asyncio.to_thread(stack.watch)
        async with session.get(f"{stack.gateway_url}/v1/status?{query}", headers=headers) as response:
            status: dict[str, Any] = await response.json() if response.status == 200 else {}
        records = await tail.poll(0.3)
        account.add(records)
        if status.get("in_step") and not records:
            return


def _result(stack: Stack, account: Account, lines: list[Line], *, in_sync: bool, match: bool, started_s: float) -> dict[str, Any]:
    counts = account.counts(lines)
    return {
        "published": sum(len(line.keys) for line in lines),
        **{outcome: counts[outcome] for outcome in ("accepted", "refused", "quarantined", "duplicate")},
        "delivered": {name: account.delivered(name) for name in stack.settings.components},
        "superseded": {name: account.superseded(name) for name in stack.settings.components},
        "in_sync": in_sync,
        "components_match": match,
        "elapsed_s": round(time.monotonic() - started_s, 2),
    }
