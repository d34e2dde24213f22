"""
The bar of a replay, for terminals; the only file of it that imports rich.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["LiveScreen"]


class LiveScreen:
    """
    A bar that is drawn over and over, with notes scrolling by above it.

    Args:
        console: The terminal.
    """

    interval = 0.1

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("sent"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[refused]:,} refused", style="yellow"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
        )
        self._bar = self._progress.add_task("", total=None, refused=0)

    def __enter__(self) -> Self:
        """
        Begins to draw.
        """
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Stops drawing; the last picture stays and the cursor is visible again.
        """
        self._progress.stop()

    def update(self, sent: int, refused: int, total: int) -> None:
        """
        Draws a new picture over the last one.
        """
        self._progress.update(self._bar, completed=sent, total=total, refused=refused)
        self._progress.refresh()

    def note(self, text: str) -> None:
        """
        One line, above the bar while there is one.
        """
        # No markup and no highlighting: a bracket in a log line is a bracket.
        self._console.print(Text(text), soft_wrap=True)
