"""
The way of given-up events to `on_drop`: off the caller's thread, off the loop, and bounded.

Plain but for the callback itself, which one task of the host runs in a worker thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from sendoff.events import DroppedEvent, DropReason
from sendoff.observers import LogDamper

__all__ = ["DropHook", "OnDrop"]

OnDrop = Callable[[str, Sequence[DroppedEvent]], object]
"""Called with a reason (a value of `DropReason`) and the events given up for it."""

MAX_BACKLOG = 10_000
MAX_BACKLOG_BYTES = 16 * 2**20
"""
Given-up events kept for a slow callback; further ones are only counted. Their memory is beyond
`max_queue_bytes`.
"""

logger = logging.getLogger("sendoff")


class DropHook:
    """
    The user's callback and what it has not seen yet.

    Args:
        callback: The user's.
        ring: Called from any thread when there is something new.
        clock: Seconds of a monotonic clock, for the log.
    """

    def __init__(
        self,
        callback: OnDrop,
        ring: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._callback = callback
        self._ring = ring
        self._clock = clock
        # All mutable state, changed under the lock.
        self._lock = threading.RLock()
        self._backlog: deque[tuple[DropReason, DroppedEvent]] = deque()
        self._bytes = 0
        self._rung = False  # since the last `deliver`
        self._damper = LogDamper()
        self.missed = 0  # given up, but not shown to the callback, since the last line that says so
        self.failures = 0  # exceptions of the callback's

    def offer(self, reason: DropReason, event: DroppedEvent) -> None:
        """
        Keeps an event for the callback. Any thread.
        """
        with self._lock:
            size = len(event.body)
            if len(self._backlog) >= MAX_BACKLOG or self._bytes + size > MAX_BACKLOG_BYTES:
                self.missed += 1
                return
            self._bytes += size
            self._backlog.append((reason, event))
            ring, self._rung = not self._rung, True
        if ring:
            self._ring()

    def deliver(self) -> None:
        """
        Shows everything kept to the callback, by reason. Runs in a worker thread; never raises.
        """
        while True:
            with self._lock:
                backlog, self._backlog = self._backlog, deque()
                self._bytes = 0
                self._rung = False
                missed = self.missed
                said = missed > 0 and self._damper.admit("missed", self._clock()) is not None
                if said:
                    self.missed = 0
            if said:
                logger.warning(
                    "on_drop was too slow: %d dropped events were not shown to it", missed
                )
            if not backlog:
                return
            groups: dict[DropReason, list[DroppedEvent]] = {}
            for reason, event in backlog:
                groups.setdefault(reason, []).append(event)
            for reason, events in groups.items():
                try:
                    self._callback(str(reason), events)
                except Exception as exc:  # noqa: BLE001 the user's code may raise anything
                    self.failures += 1
                    if self.failures == 1:
                        logger.error(
                            "on_drop raised %s; further ones are only counted", type(exc).__name__
                        )
