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
from collections import deque

__all__ = ["Throttle"]

WINDOW = 1.0
GUARD = 0.022
"""
Seconds. Measured on loopback, with another process busy: the way differs by up to 10 ms between two
requests, and by 15 to 25 where a loop writes in the end of its turn (uvloop) to a receiver that is
busy itself. It costs what it says: 2.2 % of the limit.
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
    The times at which the last `limit` requests were sent.

    Args:
        limit: Requests in a window.
        window: Its length in seconds.
    """

    def __init__(self, limit: int, window: float = WINDOW + GUARD) -> None:
        self._window = window
        self._spacing = window / (limit * SPREAD)
        # All mutable state. A slot is in `_sent`, in order, or out with a permit.
        self._sent = deque([-math.inf] * limit)  # when each slot's last request was sent
        self._out: set[int] = set()  # permits whose requests are still to be sent
        self._permits = 0  # given so far
        self._paced = -math.inf  # when the next send would be due at an even pace

    def resume(self, now: float) -> None:
        """
        Goes on in another loop, whose clock may have another zero.

        What the last loop was about to send counts as sent now; times from the future are void.
        """
        past = sorted(moment if moment <= now else -math.inf for moment in self._sent)
        self._sent = deque(past + [now] * len(self._out))
        self._out.clear()
        self._paced = min(self._paced, now)

    def wait(self, now: float) -> float:
        """
        Seconds until a request may be sent: 0 for now, inf while all slots are out.
        """
        if not self._sent:
            return math.inf
        return max(0.0, self._sent[0] + self._window - now, self._paced - SLACK - now)

    def acquire(self, now: float) -> int:
        """
        Takes the permit for one request.

        Args:
            now: Seconds of a monotonic clock.

        Returns:
            The permit, to be given to `sent` or `unsent`; or -1 if it is too early.
        """
        # As `wait` tells, without the call: this and `sent` are there for every request.
        sent, paced = self._sent, self._paced
        if not sent or sent[0] + self._window > now or paced - SLACK > now:
            return -1
        sent.popleft()
        if paced < now:
            paced = now
        self._paced = paced + self._spacing
        permit = self._permits
        self._permits = permit + 1
        self._out.add(permit)
        return permit

    def sent(self, permit: int, now: float) -> None:
        """
        Notes that a permit's request has left. A later word on the same permit is ignored.
        """
        try:
            self._out.remove(permit)
        except KeyError:
            return
        self._sent.append(now)

    def unsent(self, permit: int) -> None:
        """
        Gives a permit back whose request has certainly not left.
        """
        if permit in self._out:
            self._out.discard(permit)
            self._sent.appendleft(-math.inf)
