"""What a run tells on the terminal while it runs: a bar for what is measured now, a line for what was. Quiet where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table


class Progress:
    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar; call the result with how much is done."""
        columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Bars(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bars:
            task = bars.add_task(what, total=total)
            yield lambda done: bars.update(task, completed=done)

    def section(self, title: str) -> None:
        self._console.rule(f"[bold]{title}", align="left")

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def skipped(self, name: str, reason: str) -> None:
        self._console.print(f"[yellow]skipped[/] {name}: {reason}", highlight=False, soft_wrap=True)

    def row(self, row: dict[str, Any]) -> None:
        figures = f"{row['events_per_s']:>11,.0f} events/s  {row['events_per_cpu_s']:>11,.0f} per CPU-s  {row['peak_rss_bytes'] >> 20:>6,} MiB"
        self._console.print(f"{row['engine']:24}{figures}  {row['result_hash']}", highlight=False, soft_wrap=True)

    def ratios(self, ratios: dict[str, dict[str, float | None]]) -> None:
        table = Table("path", "SyncMaster over", "ratio", title="ratios")
        for path, peers in ratios.items():
            for peer, ratio in peers.items():
                table.add_row(path, peer, "not measured" if ratio is None else f"{ratio:.2f}")
        self._console.print(table)
