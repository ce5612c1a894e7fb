"""What the commands of `audit_commands.py` do: files, progress and exit codes around what `tables/audit_*.py` decide."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from gateway.cli.api import problems_told
from gateway.cli.options import OutputFormat
from streams import ed25519
from streams.config_file import load_settings
from streams.errors import ConfigError, Malformed
from streams.settings import Settings
from tables.audit_checkpoint import Checkpoint, Trust, TrustedKey, trust_of
from tables.audit_export import LINE_BYTES_MAX, End, line, verify_lines
from tables.audit_report import Report, Verification
from tables.audit_scan import AuditScan

T = TypeVar("T")
NOT_WHOLE, UNKNOWN = 1, 2
Advance = Callable[[int, int], None]


def export_command(file: Path, config: Path | None, base_dir: Path | None) -> int:
    with problems_told():
        settings = load_settings(config, os.environ, base_dir=base_dir)
        draft = file.with_name(f"{file.name}.part")
        try:
            with draft.open("wb") as out, _progress("exporting") as advance:
                items = _run(_export(settings, out, advance))
            draft.replace(file)
        except OSError as exc:
            raise ConfigError(f"cannot write {file} ({exc.strerror}); name a file in a directory that you may write") from exc
        print(f"{items} items in {file}; verify it anywhere with `syncmaster audit verify {file}`")
    return 0


def verify_live_command(keys: Sequence[str], config: Path | None, base_dir: Path | None, output: OutputFormat) -> int:
    with _verifying():
        settings = load_settings(config, os.environ, base_dir=base_dir)
        trust = _given(keys) if keys else trust_of(settings.audit)
        with _progress("verifying") as advance:
            report = _run(_verify(settings, trust, advance))
        return _tell(report, output)


def verify_file_command(
    file: Path, keys: Sequence[str], config: Path | None, base_dir: Path | None, output: OutputFormat, *, kept: Path | None
) -> int:
    with _verifying():
        trust = _given(keys) if keys else _configured(config, base_dir)
        try:
            extra = [] if kept is None else _kept(kept)
            with file.open("rb") as lines:
                report = verify_lines(_lines(lines), trust, extra)
        except OSError as exc:
            raise ConfigError(f"cannot read {exc.filename} ({exc.strerror}); name a file that you may read") from exc
        return _tell(report, output)


@contextmanager
def _verifying() -> Iterator[None]:
    """What could not be verified is no alarm: exit code 2. What is no audit any more is one: 1."""
    try:
        with problems_told():
            yield
    except SystemExit as exc:
        raise SystemExit(NOT_WHOLE if isinstance(exc.__context__, Malformed) else UNKNOWN) from None


def key_command(config: Path | None, base_dir: Path | None) -> int:
    with problems_told():
        reference = load_settings(config, os.environ, base_dir=base_dir).audit.signing_key
        if reference is None:
            raise ConfigError("there is no audit.signing_key; `syncmaster check` tells how to make one")
        print(ed25519.public_text(ed25519.signing_key(reference.reveal()).verify_key))
    return 0


async def _export(settings: Settings, out: BinaryIO, advance: Advance) -> int:
    count = 0
    async with AuditScan(settings) as scan:
        out.write(line(scan.begin))
        async for item in scan.items(advance):
            out.write(line(item))
            count += 1
    out.write(line(End(count)))
    return count


async def _verify(settings: Settings, trust: Trust, advance: Advance) -> Report:
    async with AuditScan(settings) as scan:
        verification = Verification(scan.begin.begins, trust, cluster=scan.begin.cluster, topic=scan.begin.topic)
        async for item in scan.items(advance):
            verification.take(item)
    return verification.report()


def _run(work: Coroutine[None, None, T]) -> T:
    return asyncio.run(work)


# -- what is trusted ---------------------------------------------------------------------------------------------------------


def _given(keys: Iterable[str]) -> Trust:
    """Each a public key, or the path of a file with one. Raises ConfigError."""
    return Trust(TrustedKey(ed25519.verify_key(_text(key))) for key in keys)


def _text(key: str) -> str:
    path = Path(key)
    try:
        return path.read_text() if path.is_file() else key
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"cannot read a public key from {key}; name a file that you may read") from None


def _configured(config: Path | None, base_dir: Path | None) -> Trust:
    """For a file, keys of a configuration are a help and not needed: without one, what cannot be checked is told."""
    try:
        return trust_of(load_settings(config, os.environ, base_dir=base_dir).audit)
    except ConfigError:
        if config is not None:
            raise
        return Trust([])


# -- files -------------------------------------------------------------------------------------------------------------------


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Bounded: a line that is longer than any of ours is handed on cut, and refused."""
    while chunk := file.readline(LINE_BYTES_MAX):
        yield chunk


def _kept(file: Path) -> list[Checkpoint]:
    """Raises ConfigError for a file that holds something else."""
    try:
        return [msgspec.json.decode(text, type=Checkpoint) for text in file.read_bytes().splitlines() if text.strip()]
    except msgspec.MsgspecError as exc:
        raise ConfigError(
            f"{file} does not hold one checkpoint a line ({exc}); take them from the NATS stream SM_AUDIT"
        ) from None


# -- what is said ------------------------------------------------------------------------------------------------------------


def _tell(report: Report, output: OutputFormat) -> int:
    if output == "json":
        print(json.dumps(msgspec.to_builtins(report) | {"whole": report.is_whole}, indent=2))
    else:
        print("\n".join(_sentences(report)))
    return 0 if report.is_whole else NOT_WHOLE


def _sentences(report: Report) -> Iterator[str]:
    for fault in report.faults:
        yield str(fault)
    yield from report.notes
    if report.is_whole:
        yield f"{report.records} records are whole; {report.checkpoints} signed checkpoints agree with them"
    else:
        yield f"the audit is NOT whole; {report.records} records are, up to the first fault of each partition"


@contextmanager
def _progress(what: str) -> Iterator[Advance]:
    """A bar for whoever watches a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, left: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, left: bar.update(task, completed=done, total=done + left)
