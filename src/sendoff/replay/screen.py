"""
Where a replay shows how far it is: plain lines here; the bar is in `live`, imported where there is
a terminal.
"""

from __future__ import annotations

from typing import Protocol

from sendoff import terminal

__all__ = ["PlainScreen", "Screen"]


class Screen(terminal.Screen, Protocol):
    """
    What a replay is shown on.
    """

    def update(self, sent: int, refused: int, total: int) -> None:
        """
        Shows how far the replay is.
        """


class PlainScreen(terminal.PlainScreen):
    """
    A line a second, if anything has changed.
    """

    def __init__(self) -> None:
        super().__init__(errors=True)
        # All mutable state.
        self._last = (-1, -1, -1)

    def update(self, sent: int, refused: int, total: int) -> None:
        """
        One line, if anything has changed.
        """
        if (sent, refused, total) == self._last:
            return
        self._last = (sent, refused, total)
        self.note(f"{sent:,} of {total:,} sent, {refused:,} refused")
