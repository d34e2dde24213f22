"""
Where workers wait for leave to send: the throttle's permit, the breaker's, the window's.

The only thing here beside the three plain steps is a queue of futures and one timer for all of
them: a worker that waits costs one future, and the workers go in the order in which they came.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from sendoff._breaker import Breaker, BreakerState
from sendoff._throttle import Throttle
from sendoff._window import Window

__all__ = ["Gate"]

CLOSED = BreakerState.CLOSED
"""Looked up once: an enum's member costs as much as a call."""


TICK = 0.008
"""
Seconds that the timer waits at least: then several may go at once, 40 of 5,000 a second. A loop
that wakes for every one of them has slept in between, and so have its processor's caches: a request
costs a tenth less than with half of that. uvloop's timers count whole milliseconds, and one of less
than half fires in the next turn: the loop spun between any two permits, which doubled the price.
"""


class Gate:
    """
    One lane's gate in one loop.

    Args:
        throttle: The lane's limit, or None.
        breaker: The lane's breaker.
        window: How many requests may be under way.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self,
        throttle: Throttle | None,
        breaker: Breaker,
        window: Window,
        clock: Callable[[], float],
    ) -> None:
        self._throttle = throttle
        self._breaker = breaker
        self._window = window
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # All mutable state.
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._crowded = False  # whether the first in the queue waits for the window
        self._wait = 0.0  # seconds until it may go, when it was last refused
        self._permits = 0  # given so far where there is no limit

    def enter(self, now: float) -> int:
        """
        Takes leave for a request, if it may go at once and nobody waits who came before.

        Args:
            now: Seconds of the gate's clock.

        Returns:
            The permit, to be given to `sent` or `unsent`, and to `ended`; or -1: then `wait`.
        """
        return -1 if self._waiting else self._try(now)

    async def wait(self) -> int:
        """
        Waits until a request may go, after `enter` has refused it.

        Cancelling it loses nothing: a permit that was just granted goes back.

        Returns:
            The permit, as `enter` gives it.
        """
        if not self._waiting:
            self._arm()
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                permit = future.result()
                self.unsent(permit)
                if self._breaker.is_probe(permit):
                    self._breaker.probe_ended()
                self._window.ended(permit, self._clock(), worked=None)
            self.pump()
            raise

    def sent(self, permit: int) -> None:
        """
        Notes that a permit's request has left, now.
        """
        if self._throttle is not None:
            self._throttle.sent(permit, self._clock())
            if self._waiting and self._timer is None:
                self.pump()

    def unsent(self, permit: int) -> None:
        """
        Gives a permit back whose request has not left.
        """
        if self._throttle is not None:
            self._throttle.unsent(permit)
            if self._waiting and self._timer is None:
                self.pump()

    def ended(self, permit: int, now: float, *, worked: bool | None) -> None:
        """
        Notes that a permit's request is no longer under way; the breaker knows of it already.

        Args:
            permit: The permit.
            now: Seconds of the gate's clock.
            worked: Whether the vendor answered as one that works; None if it was cut off.
        """
        self._window.ended(permit, now, worked=worked)
        if self._crowded and self._waiting:
            self.pump()

    def restart(self) -> None:
        """
        Lets few go at first: an outage has begun.
        """
        self._window.restart()

    def hurry(self) -> None:
        """
        The last flush: one success is enough to let everybody go.
        """
        self._window.hurry()
        self.pump()

    def pump(self) -> None:
        """
        Lets go whoever may; to be called when the breaker has changed.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            if self._waiting[0].done():  # cancelled
                self._waiting.popleft()
                continue
            permit = self._try(self._clock())
            if permit < 0:
                self._arm()
                return
            self._waiting.popleft().set_result(permit)

    def _try(self, now: float) -> int:
        # Steps that have nothing to say are not asked: this is there for every request.
        breaker, window = self._breaker, self._window
        self._crowded = False
        closed = breaker.state is CLOSED
        if not closed:
            self._wait = breaker.wait(now)
            if self._wait > 0.0:
                return -1
        elif (wait := window.wait(now)) > 0.0:  # a probe is alone and needs no room
            self._crowded = True
            self._wait = wait
            return -1
        if self._throttle is None:
            permit = self._permits = self._permits + 1
        else:
            permit = self._throttle.acquire(now)
            if permit < 0:
                self._wait = self._throttle.wait(now)
                return -1
        if not closed:
            breaker.enter(permit)
        window.enter(permit, now)
        return permit

    def _arm(self) -> None:
        """
        Has the timer fire when the wait that `_try` found is over.
        """
        if self._wait != math.inf and self._timer is None:
            self._timer = self._loop.call_later(max(self._wait, TICK), self._fired)

    def _fired(self) -> None:
        self._timer = None
        self.pump()
