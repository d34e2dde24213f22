"""
One timer for all attempts of a lane: who is not back in time is cancelled.

All attempts have the same time, so they are due in the order in which they began. A dict keeps that
order, and a timer that looks at the first of them about once in that time costs a request nothing;
a timer or a cancel scope of its own would cost each more than everything else in the lane.

Always holds: no attempt is cancelled before its time is over, nor if its answer has come by then;
every cancellation that was made here is taken back, so one from outside is still seen, and wins.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import anyio

__all__ = ["Deadlines"]

AGAIN = 0.5
"""
Seconds after which an attempt that has swallowed its cancellation is cancelled again: time for a
transport to clean up, and none to hold a worker for good.
"""


class Deadlines:
    """
    The attempts that are under way, in one loop.

    Args:
        seconds: What each may take.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # All mutable state. A task is in one of the two while its attempt is under way, with its
        # cancellations from before; in the first with its deadline, the first due first; in the
        # second with those made here, and when it is to be cancelled again.
        self._running: dict[asyncio.Task[Any], tuple[float, int]] = {}
        self._overdue: dict[asyncio.Task[Any], tuple[float, int, int]] = {}
        self._timer: asyncio.Handle | None = None  # is there while somebody is under way

    def begin(self, task: asyncio.Task[Any], now: float) -> None:
        """
        An attempt of the current task begins; `end` must be called in any case.

        Args:
            task: The current one. It is not asked for here, as that costs more than the rest.
            now: Seconds of the clock.
        """
        self._running[task] = now + self._seconds, task.cancelling()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._fired)

    def end(self, task: asyncio.Task[Any]) -> bool:
        """
        An attempt is over, however it ended.

        Returns:
            Whether a cancellation that it ended with means that its time was over, and nothing
            else: nobody outside wants the task cancelled.
        """
        if self._running.pop(task, None) is not None:
            return False
        _, times, before = self._overdue.pop(task)
        for _ in range(times):
            task.uncancel()
        # A cancel scope leaves a task alone that is being woken, and comes back in the next turn.
        return task.cancelling() <= before and anyio.current_effective_deadline() != -math.inf

    def close(self) -> None:
        """
        Nobody is cancelled any more.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fired(self) -> None:
        # In the next turn: an answer that came in this one, as after a long stall of the loop, has
        # woken its task then.
        self._timer = self._loop.call_soon(self._sweep, self._clock())

    def _sweep(self, now: float) -> None:
        """
        Cancels whoever was due at a time, and sets the timer for the next.
        """
        self._timer = None
        wait = math.inf
        due = []
        for task, (until, _) in self._running.items():
            if until > now:
                wait = until - now
                break
            due.append(task)
        for task in due:
            _, before = self._running.pop(task)
            self._overdue[task] = now, 0, before
        for task, (again, times, before) in self._overdue.items():
            if again <= now:
                again = now + AGAIN
                self._overdue[task] = again, times + 1, before
                task.cancel()
            wait = min(wait, again - now)
        if wait != math.inf:
            self._timer = self._loop.call_later(wait, self._fired)
