"""`syncmaster publish` and `syncmaster import-helm-index`: events into a principal's stream, with progress, acknowledged one by one."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.process import settings_or_exit
from gateway.local.feed import identify, messages_of_index
from streams.errors import ConfigError, Malformed
from streams.events import Incoming
from streams.helm_index import INDEX_BYTES_MAX
from streams.producer import Acknowledged, Message, publish_all
from streams.settings import Settings

_FETCH_TIMEOUT_S = 30


def publish_command(principal: str, file: Path, config: Path | None, base_dir: Path | None) -> int:
    text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    messages = [Message("cli", Incoming(body), identify(Incoming(body))) for body in events_in(text)]
    return _publish(settings_or_exit(config, base_dir), principal, messages, show=True)


def import_command(index: str, principal: str, config: Path | None, base_dir: Path | None) -> int:
    settings = settings_or_exit(config, base_dir)
    try:
        messages = list(messages_of_index(read_index(index), index))
    except (Malformed, OSError) as exc:
        print(f"{index}: {exc}", file=sys.stderr)
        return 1
    return _publish(settings, principal, messages, show=False)


def events_in(text: bytes) -> list[bytes]:
    """One JSON object, the elements of an array, or one object per line. What is none of these is published as it is."""
    try:
        if text.lstrip()[:1] == b"[":
            return [bytes(raw) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]
        return [bytes(raw) for raw in msgspec.json.Decoder(msgspec.Raw).decode_lines(text)]
    except msgspec.MsgspecError:
        return [text]


def read_index(place: str) -> bytes:
    """The bytes of a local file or of an http(s) URL, bounded. Raises OSError."""
    if urlsplit(place).scheme in {"http", "https"}:
        request = Request(place, headers={"User-Agent": "syncmaster"})  # noqa: S310 - scheme checked above
        with urlopen(request, timeout=_FETCH_TIMEOUT_S) as response:  # noqa: S310
            text: bytes = response.read(INDEX_BYTES_MAX + 1)
        return text
    return Path(place).read_bytes()


def _publish(settings: Settings, principal: str, messages: list[Message], *, show: bool) -> int:
    known = settings.principals.get(principal)
    if known is None or known.nats_password is None:
        print(
            f"{principal} is no principal with a NATS password; declared are: {', '.join(settings.principals)}", file=sys.stderr
        )
        return 2
    counts: Counter[str] = Counter()
    console = Console(stderr=True)
    columns = (TextColumn("publishing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("publishing", total=len(messages))

        def acknowledged(_: Message, ack: Acknowledged) -> None:
            counts["duplicate" if ack.duplicate else "stored"] += 1
            progress.advance(task)
            if show:
                print(f"{ack.stream} {ack.sequence}{' duplicate' if ack.duplicate else ''}")

        try:
            asyncio.run(publish_all(settings.nats, principal, known.nats_password, messages, acknowledged))
        except ConfigError as exc:
            print(exc, file=sys.stderr)
            return 1
    print(
        f"{len(messages)} published as {principal}: {counts['stored']} stored, {counts['duplicate']} known already",
        file=sys.stderr,
    )
    return 0
