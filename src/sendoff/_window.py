"""
How many requests may be under way at once: few at first, more with every answer.

Plain: takes `now`, knows no clock. Always holds: what a vendor that has not answered yet sees is
small, and what answers is never held up for long by what hangs.
"""

from __future__ import annotations

import math

__all__ = ["Window"]

FIRST = 2
"""
Requests under way at the start and after an outage: all that a dead vendor or a wrong key costs,
and one of them may hang.
"""

COST = 2
"""
Places that a failure takes, where a success gives one: up to a third of failures is the retries'
matter and costs no speed, more of them close the window.
"""

PATIENCE = 0.5
"""
Seconds of silence after which one more request goes: a few that hang until their timeout do not
stop a lane whose vendor answers all others.
"""


class Window:
    """
    Slow start: every success makes room for one more, so the room doubles with every round trip.

    Args:
        most: Requests under way when it is wide open.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._first = min(FIRST, most)
        # All mutable state.
        self.size = self._first
        self._step = 1  # places that a success makes
        self._under_way: set[int] = set()  # permits
        self._heard = -math.inf  # when a request last went or ended

    def wait(self, now: float) -> float:
        """
        Seconds until there is room for one more, if none ends before.
        """
        if len(self._under_way) < self.size:
            return 0.0
        return max(0.0, self._heard + PATIENCE - now)

    def enter(self, permit: int, now: float) -> None:
        """
        Notes that a request goes; one beyond the room widens it.
        """
        self._under_way.add(permit)
        self._heard = now
        if len(self._under_way) > self.size:
            self.size = min(len(self._under_way), self._most)

    def ended(self, permit: int, now: float, *, worked: bool | None) -> None:
        """
        Notes that a request is no longer under way. One from before a restart has no say.

        Args:
            permit: Its permit.
            now: Seconds of a monotonic clock.
            worked: Whether the vendor answered as one that works; None if it was cut off.
        """
        try:
            self._under_way.remove(permit)
        except KeyError:
            return
        self._heard = now
        if worked:
            if self.size < self._most:
                self.size = min(self.size + self._step, self._most)
        elif worked is not None:
            self.size = max(self.size - COST, self._first)

    def hurry(self) -> None:
        """
        From now on one success opens it wide, as there is no time for many round trips.
        """
        self._step = self._most
        if self.size > self._first:
            self.size = self._most

    def restart(self) -> None:
        """
        Begins anew, as an outage has. What is still under way may hang for long: its places are
        free.
        """
        self._under_way.clear()
        self.size = self._first
