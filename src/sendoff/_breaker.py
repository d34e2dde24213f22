"""
Stops a lane that cannot get through, and lets one probe find out when it can.

Plain: takes times, knows no clock and no randomness. Always holds: while it is not closed, at most
one request is under way because of it.
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
        self._probe = -1  # the permit of the last probe

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

    def enter(self, permit: int) -> None:
        """
        Notes that a request goes out after `wait` said 0: behind an open breaker it is the probe.

        Args:
            permit: What tells this request from all others.
        """
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN
            self._probe = permit

    def is_probe(self, permit: int) -> bool:
        """
        Whether a request is the probe that is waited for, and not one of an earlier pause.
        """
        return self.state is BreakerState.HALF_OPEN and self._probe == permit

    def succeeded(self) -> bool:
        """
        The vendor answered as one that works.

        While the breaker is open this is an answer to a request from before: the pause stands, as
        the vendor may have asked for it.

        Returns:
            Whether the breaker is closed.
        """
        if self.state is BreakerState.OPEN:
            return False
        self.state = BreakerState.CLOSED
        self.failures = 0
        self._until = -math.inf
        return True

    def failed(self, *, certain: bool, probe: bool) -> bool:
        """
        A request failed.

        Args:
            certain: Whether one failure is enough, because the vendor said so (a wrong key, a wish
                to wait).
            probe: Whether it was the probe.

        Returns:
            Whether a pause begins here; the caller then tells `pause` how long. The stragglers that
            fail while it lasts begin none, so a hundred of them do not make it longer.
        """
        self.failures += 1
        if self.state is BreakerState.CLOSED:
            if not certain and self.failures < self._threshold:
                return False
        elif not probe:
            return False
        self.state = BreakerState.OPEN
        return True

    def pause(self, until: float) -> None:
        """
        Has the next probe wait until a time, if it does not wait longer already.
        """
        self._until = max(self._until, until)

    def probe_ended(self) -> None:
        """
        The probe ended without an answer of any kind: the next one may go.
        """
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN

    def nudge(self, now: float) -> None:
        """
        Lets the next probe go at once.
        """
        self._until = min(self._until, now)
