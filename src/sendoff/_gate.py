"""
Where workers wait for leave to send: the throttle's permit, and the breaker's.

The only thing here beside the two plain steps is a queue of futures and one timer for all of them:
a worker that waits costs one future, and the workers go in the order in which they came.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from sendoff._breaker import Breaker
from sendoff._throttle import Throttle

__all__ = ["Gate"]


class Gate:
    """
    One lane's gate in one loop.

    Args:
        throttle: The lane's limit, or None.
        breaker: The lane's breaker.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self, throttle: Throttle | None, breaker: Breaker, clock: Callable[[], float]
    ) -> None:
        self._throttle = throttle
        self._breaker = breaker
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # All mutable state.
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._permits = 0  # given so far where there is no limit

    async def enter(self) -> int:
        """
        Waits until a request may go.

        Cancelling it loses nothing: a permit that was just granted goes back.

        Returns:
            The permit, to be given to `sent` or `unsent`.
        """
        if not self._waiting:
            permit, wait = self._try()
            if permit >= 0:
                return permit
            self._arm(wait)
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.unsent(future.result())
                if self._breaker.is_probe(future.result()):
                    self._breaker.probe_ended()
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
            permit, wait = self._try()
            if permit < 0:
                self._arm(wait)
                return
            self._waiting.popleft().set_result(permit)

    def _try(self) -> tuple[int, float]:
        now = self._clock()
        wait = self._breaker.wait(now)
        if wait > 0.0:
            return -1, wait
        if self._throttle is None:
            permit = self._permits = self._permits + 1
        else:
            permit = self._throttle.acquire(now)
            if permit < 0:
                return -1, self._throttle.wait(now)
        self._breaker.enter(permit)
        return permit, 0.0

    def _arm(self, wait: float) -> None:
        if wait != math.inf and self._timer is None:
            self._timer = self._loop.call_later(wait, self._fired)

    def _fired(self) -> None:
        self._timer = None
        self.pump()
