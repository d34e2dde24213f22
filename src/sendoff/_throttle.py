"""
At most `limit` requests in any sliding window, at the receiver.

Plain: takes `now`, knows no clock. Each of `limit` slots is used at most once in a window, counted
    from the moment its
last request was really sent; so no window, wherever it begins, holds more than `limit` sends. The
window is longer than a second by a guard, because the way to the receiver shortens some gaps:
without it 3,050 of 3,000 arrived within a second, with 10 ms exactly 3,000, at 99 % of the budget.
"""

from __future__ import annotations

import math
from array import array

__all__ = ["Throttle"]

WINDOW = 1.0
GUARD = 0.010


class Throttle:
    """
    A ring of the times at which the last `limit` requests were sent.

    Args:
        limit: Requests in a window.
        window: Its length in seconds.
    """

    def __init__(self, limit: int, window: float = WINDOW + GUARD) -> None:
        self._limit = limit
        self._window = window
        # All mutable state. A slot holds the time of its last send; inf while its request is still
        # to be sent.
        self._sent = array("d", [-math.inf]) * limit
        self._next = 0

    def wait(self, now: float) -> float:
        """
        Seconds until a request may be sent: 0 for now, inf while that depends on a request still to
        be sent.
        """
        return max(0.0, self._sent[self._next] + self._window - now)

    def acquire(self, now: float) -> int:
        """
        Takes the permit for one request.

        Args:
            now: Seconds of a monotonic clock.

        Returns:
            The permit, to be given to `sent` or `unsent`; or -1 if it is too early.
        """
        slot = self._next
        if self._sent[slot] + self._window > now:
            return -1
        self._sent[slot] = math.inf
        self._next = slot + 1 if slot + 1 < self._limit else 0
        return slot

    def sent(self, permit: int, now: float) -> None:
        """
        Notes that a permit's request has left. A later call for the same permit is ignored.
        """
        if self._sent[permit] == math.inf:
            self._sent[permit] = now

    def unsent(self, permit: int) -> None:
        """
        Gives a permit back whose request has certainly not left.
        """
        if self._sent[permit] == math.inf:
            self._sent[permit] = -math.inf
