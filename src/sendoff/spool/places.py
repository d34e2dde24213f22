"""
Where an event is on disk, as one number: its segment's key and, in the lower bits, its own number
there.

Plain: no I/O.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

__all__ = ["FULL", "IN_MEMORY", "NUMBER", "PLACE_BITS", "Fates", "runs_of"]

PLACE_BITS = 32

NUMBER = (1 << PLACE_BITS) - 1
"""The bits of a place that are the event's number."""

IN_MEMORY = -1
"""The place of an event that could not be written."""

FULL = -2
"""No place: the spool is full, and the event must go."""

Fates = dict[int, list[tuple[int, int]]]
"""For each segment, by its key, the first and last number of each run of its events."""


def runs_of(places: Iterable[int]) -> Fates:
    """
    The runs that some places make.

    Args:
        places: As `LaneSpool.append` gave them, in any order, none twice; those below 0
            are passed over.
    """
    ordered = sorted(places)
    found: Fates = {}
    at = bisect_left(ordered, 0)
    while at < len(ordered):
        first = ordered[at]
        end = at + 1
        if end < len(ordered) and ordered[end] == first + 1:
            # Mostly all of a large batch is one run, and no place comes twice: as far as places
            # grow no faster than their index.
            end = bisect_right(
                range(len(ordered)), first - at, lo=end, key=lambda index: ordered[index] - index
            )
        found.setdefault(first >> PLACE_BITS, []).append(
            (first & NUMBER, ordered[end - 1] & NUMBER)
        )
        at = end
    return found
