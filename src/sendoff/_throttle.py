"""
At most `limit` requests in any sliding window, at the receiver.

Plain: takes `now`, knows no clock. Each of `limit` slots is used at most once in a window, counted
from the moment its last request was really sent; so no window, wherever it begins, holds more than
`limit` sends. The window is longer than a second by a guard, because the way to the receiver
shortens some gaps. And sends are spread: a burst as fast as the machine can would queue up on the
way and shorten gaps by more than the guard (1,027 of 1,000 arrived in a second), and stall the loop
that hosts us.
"""

from __future__ import annotations

import math
from array import array

__all__ = ["Throttle"]

WINDOW = 1.0
GUARD = 0.015
"""
Seconds. Measured on loopback, with another process busy: the way differs by up to 10 ms between two
requests, seldom by more.
"""

SPREAD = 1.25
"""
How much faster than the limit sends may follow each other: what an outage cost is made good, and
the loop still gets its turns.
"""

SLACK = 0.020
"""Seconds of sends that may go at once: timers are late, and that must not cost budget."""


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
        self._spacing = window / (limit * SPREAD)
        # All mutable state. A slot holds the time of its last send; inf while its request is still
        # to be sent.
        self._sent = array("d", [-math.inf]) * limit
        self._next = 0
        self._paced = -math.inf  # when the next send would be due at an even pace

    def resume(self, now: float) -> None:
        """
        Goes on in another loop, whose clock may have another zero.

        What the last loop was about to send counts as sent now; times from the future are void.
        """
        for slot, moment in enumerate(self._sent):
            if moment == math.inf:
                self._sent[slot] = now
            elif moment > now:
                self._sent[slot] = -math.inf
        self._paced = min(self._paced, now)

    def wait(self, now: float) -> float:
        """
        Seconds until a request may be sent: 0 for now, inf while that depends on a request still to
        be sent.
        """
        due = max(self._sent[self._next] + self._window, self._paced - SLACK)
        return max(0.0, due - now)

    def acquire(self, now: float) -> int:
        """
        Takes the permit for one request.

        Args:
            now: Seconds of a monotonic clock.

        Returns:
            The permit, to be given to `sent` or `unsent`; or -1 if it is too early.
        """
        slot = self._next
        if self._sent[slot] + self._window > now or self._paced - SLACK > now:
            return -1
        self._paced = (self._paced if self._paced > now else now) + self._spacing
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
