"""
The live display, for terminals: what moves while the demo runs, and the table that stays.

The only file of the demo that imports rich.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sendoff import terminal
from sendoff.demo.progress import Reading
from sendoff.demo.table import REQUEST_LIMIT, Row

__all__ = ["LiveScreen", "frame"]

PHASE_STYLES = {"sending": "cyan", "waiting": "yellow", "probing": "yellow", "done": "green"}

NARROW = 90
"""Columns below which the meter of requests is left out; the number beside it says the same."""

METER = 16
"""Columns of that meter."""


def frame(readings: Sequence[Reading], elapsed: float, width: int) -> RenderableType:
    """
    One picture of the run.

    Args:
        readings: One for each destination.
        elapsed: Seconds since the run began.
        width: The terminal's columns.
    """
    roomy = width >= NARROW
    grid = Table(box=None, expand=True, padding=(0, 1), header_style="dim", pad_edge=False)
    grid.add_column(f"{elapsed:.1f} s", no_wrap=True)
    grid.add_column("enqueued", justify="right", no_wrap=True)
    grid.add_column("delivered", justify="right", no_wrap=True)
    grid.add_column("", ratio=1)
    grid.add_column("retried", justify="right", no_wrap=True)
    grid.add_column("requests/s" if roomy else "req/s", justify="right", no_wrap=True)
    if roomy:
        grid.add_column(f"of {REQUEST_LIMIT:,}", width=METER)
    grid.add_column("", min_width=len("sending"), no_wrap=True)
    for now in readings:
        style = PHASE_STYLES[now.phase]
        cells: list[RenderableType] = [
            Text(now.name, style="bold"),
            f"{now.enqueued:,}",
            f"{now.delivered:,}",
            _bar(now.delivered, now.total, style),
            Text(f"{now.retried:,}", style="yellow" if now.retried else "dim"),
            f"{now.rate:,}",
        ]
        if roomy:
            cells.append(_bar(now.rate, REQUEST_LIMIT, "magenta"))
        grid.add_row(*cells, Text(now.phase, style=style))
    return Padding(grid, (1, 1))


def _bar(done: int, total: int, style: str) -> ProgressBar:
    # The finished style is the same one: the phase already says that it is done.
    return ProgressBar(
        total=max(total, 1), completed=done, complete_style=style, finished_style=style
    )


class LiveScreen(terminal.LiveScreen):
    """
    A display that is drawn over and over, with notes scrolling by above it.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)
        super().__init__(console, self._live, no_wrap=True, overflow="ellipsis")

    def update(self, readings: Sequence[Reading], elapsed: float) -> None:
        """
        Draws a new picture over the last one.
        """
        self._live.update(frame(readings, elapsed, self._console.width), refresh=True)

    def table(self, names: tuple[str, ...], rows: list[Row], *, agrees: bool) -> None:
        """
        Both counts, side by side.
        """
        grid = Table(box=box.SIMPLE_HEAD, header_style="dim", show_edge=False)
        grid.add_column("", no_wrap=True)
        grid.add_column("", no_wrap=True)
        for name in names:
            grid.add_column(name, justify="right")
        grid.add_column("", style="dim", no_wrap=True)
        verdict = "bold green" if agrees else "bold red"
        for row in rows:
            if row.side and grid.row_count:
                grid.add_section()
            style = "" if row.what else verdict
            grid.add_row(Text(row.side, style="bold"), row.what, *row.values, row.note, style=style)
        self._console.print(Group("", grid, ""))
