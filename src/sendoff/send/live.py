"""
The bars of a run, for terminals; the only file of it that imports rich.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from sendoff import terminal
from sendoff.send.screen import Progress

__all__ = ["LiveScreen"]


class LiveScreen(terminal.LiveScreen):
    """
    A bar for each vendor, drawn over and over, with notes scrolling by above them.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:,.0f} requests/s"),
            TextColumn("{task.fields[refused]:,} refused", style="yellow"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
        )
        super().__init__(console, self._bars, soft_wrap=True)
        # All mutable state.
        self._tasks: dict[str, TaskID] = {}

    def update(self, lanes: Mapping[str, Progress], total: int | None, elapsed: float) -> None:
        """
        Draws a new picture over the last one.
        """
        for name, lane in lanes.items():
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=None, refused=0, rate=0.0)
            self._bars.update(
                self._tasks[name],
                completed=lane.done,
                total=None if total is None else max(total, lane.done),
                refused=lane.refused,
                rate=lane.requests / max(elapsed, 0.001),
            )
        self._bars.refresh()
