"""
Where the demo shows itself: plain lines here; the live display is in `live`, imported where there
is a terminal.

Always holds: plain lines are ASCII without control sequences, so that they can go into any file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sendoff import terminal
from sendoff.demo.progress import Reading
from sendoff.demo.table import REQUEST_LIMIT, Row, plain_table

__all__ = ["PlainScreen", "Screen"]


class Screen(terminal.Screen, Protocol):
    """
    What a run is shown on.
    """

    def update(self, readings: Sequence[Reading], elapsed: float) -> None:
        """
        Shows how far the run is.
        """

    def table(self, names: tuple[str, ...], rows: list[Row], *, agrees: bool) -> None:
        """
        Shows both counts, after the end.
        """


class PlainScreen(terminal.PlainScreen):
    """
    A line a second for each destination, and the table in plain columns.
    """

    def update(self, readings: Sequence[Reading], elapsed: float) -> None:
        """
        One line for each destination.
        """
        for now in readings:
            self.note(
                f"{elapsed:6.1f} s  {now.name:<10}  {now.enqueued:>6,} enqueued  "
                f"{now.delivered:>6,} delivered  {now.retried:>5,} retried  "
                f"{now.rate:>5,} of {REQUEST_LIMIT:,} requests/s  {now.phase}"
            )

    def table(self, names: tuple[str, ...], rows: list[Row], *, agrees: bool) -> None:
        """
        The table in plain columns.
        """
        self.note(f"\n{plain_table(names, rows)}\n")
