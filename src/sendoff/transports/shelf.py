"""
Things that may lie for so long, the freshest on top; one timer for all of them.

Always holds: all lie equally long, so the lowest is due first, and the timer is set for it or
earlier. To put something on and to take it off again sets no timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["Shelf"]

T = TypeVar("T")


class Shelf(Generic[T]):
    """
    Belongs to one loop.

    Args:
        loop: The loop.
        seconds: How long a thing may lie.
        expired: Called with what has lain too long, once it is off.
    """

    __slots__ = ("_due", "_expired", "_loop", "_seconds", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, expired: Callable[[T], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._expired = expired
        # All mutable state.
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """
        How many things lie here.
        """
        return len(self._due)

    def __iter__(self) -> Iterator[T]:
        """
        The longest there first.
        """
        return iter(self._due)

    def put(self, thing: T) -> None:
        """
        Lays a thing on top that is not there.
        """
        self._due[thing] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._sweep)

    def top(self) -> T | None:
        """
        Takes the freshest thing off.
        """
        return self._due.popitem()[0] if self._due else None

    def discard(self, thing: T) -> None:
        """
        Takes a thing off, if it is there.
        """
        self._due.pop(thing, None)

    def close(self) -> None:
        """
        Forgets everything, unexpired.
        """
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = self._loop.time()
        over = []
        self._timer = None
        for thing, due in self._due.items():
            # A loop's clock may be coarser than its timers: uvloop's counts milliseconds.
            if due > now + 0.001:
                self._timer = self._loop.call_later(due - now, self._sweep)
                break
            over.append(thing)
        for thing in over:
            del self._due[thing]
        for thing in over:
            self._expired(thing)
