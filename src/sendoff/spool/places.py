"""
Where an event is on disk, as one number: its segment's key and, in the lower bits, its own number
there.

Plain: no I/O.
"""

from __future__ import annotations

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
        places: As `LaneSpool.append` gave them, in any order; those below 0 are passed over.
    """
    found: Fates = {}
    first = last = -2
    for place in sorted(places):
        if place == last + 1 and place >= 0 and first >= 0:
            last = place
            continue
        if first >= 0:
            found.setdefault(first >> PLACE_BITS, []).append((first & NUMBER, last & NUMBER))
        first = last = place
    if first >= 0:
        found.setdefault(first >> PLACE_BITS, []).append((first & NUMBER, last & NUMBER))
    return found
