"""
Where a run shows how far it is: plain lines here; the bars are in `live`, imported where there is a
terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sendoff import terminal

__all__ = ["PlainScreen", "Progress", "Screen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """
    How far one vendor's lane is. Counts are rows.

    Attributes:
        done: Those with a fate, of earlier runs as well.
        refused: Those that the vendor did not take.
        requests: Requests of this run.
    """

    done: int
    refused: int
    requests: int


class Screen(terminal.Screen, Protocol):
    """
    What a run is shown on.
    """

    def update(self, lanes: Mapping[str, Progress], total: int | None, elapsed: float) -> None:
        """
        Shows how far the run is.

        Args:
            lanes: By vendor.
            total: Rows of the file, or about so many; None if nobody knows.
            elapsed: Seconds since the beginning.
        """


class PlainScreen(terminal.PlainScreen):
    """
    A line a second, if anything has changed.
    """

    def __init__(self) -> None:
        super().__init__(errors=True)
        # All mutable state.
        self._last: Mapping[str, Progress] = {}

    def update(self, lanes: Mapping[str, Progress], total: int | None, elapsed: float) -> None:
        """
        One line, if anything has changed.
        """
        if lanes == self._last:
            return
        self._last = dict(lanes)
        of = "" if total is None else f" of {total:,}"
        parts = [
            f"{name} {lane.done:,}{of}, {lane.refused:,} refused,"
            f" {lane.requests / max(elapsed, 0.001):,.0f} requests/s"
            for name, lane in lanes.items()
        ]
        self.note(f"{elapsed:6.1f} s  {'; '.join(parts)}")
