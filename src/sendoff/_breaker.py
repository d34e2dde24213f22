"""
Stops a lane that cannot get through, and lets one probe find out when it can.

Plain: takes `now` and the length of a pause, knows no clock and no randomness. Always holds: while
    it is not closed, at
most one request is under way because of it.
"""

from __future__ import annotations

import math
from enum import Enum

__all__ = ["Breaker", "BreakerState"]

THRESHOLD = 5
"""
Failures in a row that open the breaker: fewer may be one bad event's, more are wasted on a vendor
that is down.
"""


class BreakerState(Enum):
    """
    Whether requests go out.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """
    Closed: requests go. Open: none goes until a time. Half open: one probe is under way.

    Args:
        threshold: Failures in a row that open it.
    """

    def __init__(self, threshold: int = THRESHOLD) -> None:
        self._threshold = threshold
        # All mutable state.
        self.state = BreakerState.CLOSED
        self.failures = 0  # in a row
        self._until = -math.inf

    def wait(self, now: float) -> float:
        """
        Seconds until a request may go: 0 for now, inf while a probe is under way.
        """
        if self.state is BreakerState.CLOSED:
            return 0.0
        if self.state is BreakerState.HALF_OPEN:
            return math.inf
        return max(0.0, self._until - now)

    def pause_left(self, now: float) -> float:
        """
        Seconds of the pause that is being waited out: 0 if there is none.
        """
        return 0.0 if self.state is BreakerState.CLOSED else max(0.0, self._until - now)

    def enter(self) -> None:
        """
        Notes that a request goes out after `wait` said 0: behind an open breaker it is the probe.
        """
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN

    def succeeded(self) -> None:
        """
        The vendor answered as one that works.

        While the breaker is open this is an answer to a request from before: the pause stands, as
        the vendor may have asked for it.
        """
        if self.state is not BreakerState.OPEN:
            self.state = BreakerState.CLOSED
            self.failures = 0

    def failed(self, now: float, pause: float, *, certain: bool = False) -> None:
        """
        A request failed.

        Args:
            now: Seconds of a monotonic clock.
            pause: Seconds until the next probe, should this failure open the breaker.
            certain: Whether one failure is enough, because the vendor said so (a wrong key, a wish
                to wait).
        """
        self.failures += 1
        if certain or self.state is not BreakerState.CLOSED or self.failures >= self._threshold:
            self._until = max(self._until, now + pause)
            # A straggler's failure must not let a second probe out beside the one under way.
            if self.state is BreakerState.CLOSED:
                self.state = BreakerState.OPEN

    def probe_ended(self) -> None:
        """
        The probe ended without a success: wait out the pause again.
        """
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN

    def nudge(self, now: float) -> None:
        """
        Lets the next probe go at once.
        """
        self._until = min(self._until, now)
