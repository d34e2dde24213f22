"""
The workers of a lane that have nothing to do: how they sleep, and who of them is woken.

Always holds: whoever sleeps costs one future and no timer, but for the one that watches a batch
fill; what is rung for is taken by a worker that sleeps, or by a new one, while there may be more.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from sendoff._batcher import Batcher
from sendoff._intake import Intake

__all__ = ["Sleepers"]

NEVER = math.inf


class Sleepers:
    """
    Those of one lane, in one loop after the other.

    Args:
        intake: Where calls ring.
        batcher: Knows when a batch is full.
        due_in: Seconds until a batch is due, at a time; asked under the intake's lock.
        most: Workers there may be.
    """

    def __init__(
        self, intake: Intake, batcher: Batcher, due_in: Callable[[float], float], most: int
    ) -> None:
        self._intake = intake
        self._batcher = batcher
        self._due_in = due_in
        self._most = most
        # All mutable state, changed in the loop.
        self._idle: list[asyncio.Future[None]] = []  # the last to sleep is last
        self._lingerer: asyncio.Future[None] | None = None  # the one that watches a batch fill
        self._started = 0  # workers; they are started as they are needed
        self._start: Callable[[int], None] | None = None  # None while no loop is there

    def begin(self, start: Callable[[int], None]) -> None:
        """
        From now on workers are started; those of the last loop are no more.

        Args:
            start: Starts the worker of a number.
        """
        self._idle.clear()
        self._lingerer = None
        self._started = 0
        self._start = start

    def end(self) -> None:
        """
        Nobody is woken any more.
        """
        self._start = None

    def is_free(self) -> bool:
        """
        Whether the next event should wake somebody at once, as none watches.
        """
        return self._lingerer is None and (bool(self._idle) or self._started < self._most)

    async def doze(self, now: float) -> None:
        """
        Sleeps until there may be something to do: as the one that watches a batch fill, or as one
        of the idle.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        queue = self._intake.queue
        with self._intake.lock:
            # Looked at again, when no call comes in without the lock any more: one in between would
            # have found nobody to ring for.
            queue.light = 0
            queue.weigh()
            wait = self._due_in(now)
            if wait == 0.0:
                return
            watching = wait != NEVER and self._lingerer is None
            if watching:
                self._lingerer = future
                queue.ring_bytes, queue.ring_events = self._batcher.full_at()
                queue.lighten()
            else:
                self._idle.append(future)
                if self._lingerer is None:
                    queue.ring_events = 1
                    queue.lighten()
        if not watching:
            await future
            return
        timer = loop.call_later(wait, _wake, future)
        try:
            await future
        finally:
            timer.cancel()
            self._lingerer = None

    def ring(self) -> None:
        """
        Wakes one worker: the one that watches, or the one that slept last and has the freshest
        connection, or a new one.
        """
        if self._start is None:
            return  # a call rang just before the end
        if self._lingerer is not None:
            _wake(self._lingerer)
            return
        while self._idle:
            if _wake(self._idle.pop()):
                return
        if self._started < self._most:
            self._started += 1
            self._start(self._started)


def _wake(future: asyncio.Future[None]) -> bool:
    if future.done():
        return False
    future.set_result(None)
    return True
