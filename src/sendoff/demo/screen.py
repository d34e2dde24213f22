"""
Where the demo shows itself: plain lines here; the live display is in `live`, imported where there
is a terminal.

Always holds: plain lines are ASCII without control sequences, so that they can go into any file.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from sendoff.demo.progress import Reading
from sendoff.demo.table import REQUEST_LIMIT, Row, plain_table

__all__ = ["PlainScreen", "Screen"]


class Screen(Protocol):
    """
    What a run is shown on. Open it as a context manager; `update` as often as `interval` says.
    """

    @property
    def interval(self) -> float:
        """
        Seconds between two updates.
        """

    def __enter__(self) -> Self:
        """
        Begins to show.
        """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Leaves the terminal as it was, whatever happened.
        """

    def update(self, readings: Sequence[Reading], elapsed: float) -> None:
        """
        Shows how far the run is.
        """

    def note(self, text: str) -> None:
        """
        Shows a line that stays.
        """

    def table(self, names: tuple[str, ...], rows: list[Row], *, agrees: bool) -> None:
        """
        Shows both counts, after the end.
        """


class PlainScreen:
    """
    Lines for pipes, files and logs.
    """

    interval = 1.0

    def __enter__(self) -> Self:
        """
        Begins to show: there is nothing to set up.
        """
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Leaves the terminal as it was, since it was never changed.
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

    def note(self, text: str) -> None:
        """
        One line.
        """
        # Flushed, since whoever reads along through a pipe wants it now.
        print(text, flush=True)

    def table(self, names: tuple[str, ...], rows: list[Row], *, agrees: bool) -> None:
        """
        The table in plain columns.
        """
        self.note(f"\n{plain_table(names, rows)}\n")
