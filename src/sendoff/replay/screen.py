"""
Where a replay shows how far it is: plain lines here; the bar is in `live`, imported where there is
a terminal.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, Self

__all__ = ["PlainScreen", "Screen"]


class Screen(Protocol):
    """
    What a replay is shown on. Open it as a context manager; `update` as often as `interval` says.
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

    def update(self, sent: int, refused: int, total: int) -> None:
        """
        Shows how far the replay is.
        """

    def note(self, text: str) -> None:
        """
        Shows a line that stays.
        """


class PlainScreen:
    """
    Lines for pipes, files and logs.
    """

    interval = 1.0

    def __init__(self) -> None:
        # All mutable state.
        self._last = (-1, -1, -1)

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

    def update(self, sent: int, refused: int, total: int) -> None:
        """
        One line, if anything has changed.
        """
        if (sent, refused, total) == self._last:
            return
        self._last = (sent, refused, total)
        self.note(f"{sent:,} of {total:,} sent, {refused:,} refused")

    def note(self, text: str) -> None:
        """
        One line, flushed: whoever reads along through a pipe wants it now.
        """
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
