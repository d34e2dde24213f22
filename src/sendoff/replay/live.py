"""
The bar of a replay, for terminals; the only file of it that imports rich.
"""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sendoff import terminal

__all__ = ["LiveScreen"]


class LiveScreen(terminal.LiveScreen):
    """
    A bar that is drawn over and over, with notes scrolling by above it.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("sent"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[refused]:,} refused", style="yellow"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
        )
        super().__init__(console, self._progress, soft_wrap=True)
        self._bar = self._progress.add_task("", total=None, refused=0)

    def update(self, sent: int, refused: int, total: int) -> None:
        """
        Draws a new picture over the last one.
        """
        self._progress.update(self._bar, completed=sent, total=total, refused=refused)
        self._progress.refresh()
