"""
The way of given-up events to `on_drop` and of fates to `on_outcome`: off the caller's thread, off
the loop, and bounded.

Plain but for the callback itself, which one task of the host runs in a worker thread. Always holds:
what was offered is shown once or counted as missed; a callback sees things in the order in which
they were offered, one call at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sendoff._lines import HOOK_FAILED, HOOK_LATE
from sendoff._log import write
from sendoff.events import DroppedEvent, DropReason, Fate, Outcome
from sendoff.observers import LogDamper

__all__ = ["DropHook", "Hooks", "OnDrop", "OnOutcome", "OutcomeHook"]

OnDrop = Callable[[str, Sequence[DroppedEvent]], object]
"""Called with a reason (a value of `DropReason`) and the events given up for it."""

OnOutcome = Callable[[Outcome], object]
"""Called with the fate that some events met together."""

MAX_BACKLOG = 10_000
MAX_BACKLOG_BYTES = 16 * 2**20
"""
Given-up events kept for a slow callback; further ones are only counted. Their memory is beyond
`max_queue_bytes`.
"""

MAX_OUTCOME_IDS = 100_000
"""Ids kept for a slow `on_outcome`, some 10 MB; further ones are only counted."""

Item = TypeVar("Item")


class _Hook(Generic[Item]):
    """
    A user's callback and what it has not seen yet.

    Args:
        ring: Called from any thread when there is something new.
        clock: Seconds of a monotonic clock, for the log.
    """

    name: str  # of the option
    what: str  # that was not shown, for the log line

    def __init__(self, ring: Callable[[], None], clock: Callable[[], float]) -> None:
        self._ring = ring
        self._clock = clock
        self._turn = threading.Lock()  # held while the callback runs: one call at a time
        # All mutable state, changed under the lock.
        self._lock = threading.RLock()
        self._backlog: deque[Item] = deque()
        self._size = 0
        self._rung = False  # since the last `deliver`
        self._damper = LogDamper()
        self.missed = 0  # events not shown to the callback, since the last line that says so
        self.missed_in_all = 0  # and ever
        self.failures = 0  # exceptions of the callback's

    @property
    def behind(self) -> bool:
        """
        Whether there is something that the callback has not seen, or has not returned from.
        """
        return bool(self._backlog) or self._turn.locked()

    def _keep(self, item: Item, size: int) -> None:
        self._size += size
        self._backlog.append(item)

    def _ring_once(self) -> None:
        with self._lock:
            ring, self._rung = not self._rung, True
        if ring:
            self._ring()

    def _miss(self, events: int) -> None:
        self.missed += events
        self.missed_in_all += events

    def deliver(self) -> None:
        """
        Shows everything kept to the callback. Runs in a worker thread; never raises.
        """
        # A last call after a close may find an earlier one still in the callback.
        with self._turn:
            while True:
                with self._lock:
                    backlog, self._backlog = self._backlog, deque()
                    self._size = 0
                    self._rung = False
                    missed = self.missed
                    said = missed > 0 and self._damper.admit("missed", self._clock()) is not None
                    if said:
                        self.missed = 0
                if said:
                    write(HOOK_LATE, self.name, missed, self.what)
                if not backlog:
                    return
                self._show(backlog)

    def _show(self, backlog: deque[Item]) -> None:
        raise NotImplementedError

    def _call(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as exc:  # noqa: BLE001 the user's code may raise anything
            self.failures += 1
            if self.failures == 1:
                write(HOOK_FAILED, self.name, type(exc).__name__, level=logging.ERROR)


class DropHook(_Hook[tuple[DropReason, DroppedEvent]]):
    """
    `on_drop` and the given-up events that it has not seen yet.

    Args:
        callback: The user's.
        ring: Called from any thread when there is something new.
        clock: Seconds of a monotonic clock, for the log.
    """

    name = "on_drop"
    what = "dropped events"

    def __init__(
        self,
        callback: OnDrop,
        ring: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(ring, clock)
        self._callback = callback

    def offer(self, reason: DropReason, event: DroppedEvent) -> None:
        """
        Keeps an event for the callback. Any thread.
        """
        size = len(event.body)
        # What a close leaves comes once, and has had its place in the queue's bounds until now.
        last = reason is DropReason.SHUTDOWN
        with self._lock:
            full = len(self._backlog) >= MAX_BACKLOG or self._size + size > MAX_BACKLOG_BYTES
            if full and not last:
                self._miss(1)
                return
            self._keep((reason, event), size)
        self._ring_once()

    def _show(self, backlog: deque[tuple[DropReason, DroppedEvent]]) -> None:
        groups: dict[DropReason, list[DroppedEvent]] = {}
        for reason, event in backlog:
            groups.setdefault(reason, []).append(event)
        for reason, events in groups.items():
            self._call(lambda: self._callback(str(reason), events))  # noqa: B023 called at once


class OutcomeHook(_Hook[Outcome]):
    """
    `on_outcome` and the fates that it has not seen yet.

    Args:
        callback: The user's.
        ring: Called from any thread when there is something new.
        clock: Seconds of a monotonic clock, for the log.
    """

    name = "on_outcome"
    what = "events' fates"

    def __init__(
        self,
        callback: OnOutcome,
        ring: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(ring, clock)
        self._callback = callback

    def offer(
        self, destination: str, fate: Fate, reason: DropReason | None, ids: Sequence[str]
    ) -> None:
        """
        Keeps a fate for the callback. Any thread.

        Args:
            destination: The destination's name.
            fate: How the events ended.
            reason: Why they were given up, if they were.
            ids: Their ids.
        """
        with self._lock:
            room = MAX_OUTCOME_IDS - self._size
            if len(ids) > room:
                self._miss(len(ids) - room)
                ids = ids[:room]
            if ids:
                self._keep(Outcome(destination, fate, reason, tuple(ids)), len(ids))
        self._ring_once()

    def _show(self, backlog: deque[Outcome]) -> None:
        for outcome in backlog:
            self._call(lambda: self._callback(outcome))  # noqa: B023 called at once


class Hooks:
    """
    Both hooks, as an intake tells them what became of events. Any thread.

    Args:
        drops: The way to `on_drop`, if it is set.
        outcomes: The way to `on_outcome`, if it is set.
    """

    def __init__(self, drops: DropHook | None, outcomes: OutcomeHook | None) -> None:
        self._drops = drops
        self._outcomes = outcomes

    def all(self) -> tuple[DropHook | OutcomeHook, ...]:
        """
        Those that are set.
        """
        return tuple(hook for hook in (self._drops, self._outcomes) if hook is not None)

    def delivered(self, destination: str, ids: Sequence[str]) -> None:
        """
        The vendor has them.
        """
        if self._outcomes is not None:
            self._outcomes.offer(destination, Fate.DELIVERED, None, ids)

    def given_up(
        self,
        destination: str,
        reason: DropReason,
        bodies: Sequence[bytes],
        ids: Sequence[str],
        written: int = 0,
    ) -> None:
        """
        They are lost, but for the first ones, which are in the dead letters.

        Args:
            destination: The destination's name.
            reason: Why.
            bodies: The encoded events.
            ids: Their ids.
            written: How many are in the dead letters.
        """
        if self._outcomes is not None:
            if written:
                self._outcomes.offer(destination, Fate.DEAD_LETTERED, reason, ids[:written])
            if written < len(ids):
                self._outcomes.offer(destination, Fate.DROPPED, reason, ids[written:])
        if self._drops is not None:
            for body, event_id in zip(bodies[written:], ids[written:], strict=True):
                self._drops.offer(reason, DroppedEvent(event_id, destination, body))
