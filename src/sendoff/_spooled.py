"""
The caller's half of a lane with a spool: what is accepted is on disk before the call returns.

Always holds: an event is written before it is queued, and acknowledged after its fate is counted;
both under the intake's lock, so the disk and the queue never know different things.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sendoff._backlog import SpooledQueue
from sendoff._intake import Intake
from sendoff._lines import SPOOL_DAMAGED, SPOOL_FAULT, SPOOL_FULL, SPOOL_LOST
from sendoff._queue import Evicted
from sendoff._refill import Refill
from sendoff.destinations.base import Destination
from sendoff.events import DropReason
from sendoff.observers import DestinationStats
from sendoff.spool.lane import LaneSpool
from sendoff.spool.places import FULL, runs_of
from sendoff.spool.runs import Stretch

if TYPE_CHECKING:
    from sendoff._batcher import Batch
    from sendoff._hook import Hooks
    from sendoff._letters import LetterBox
    from sendoff._log import Log
    from sendoff.spool.record import Record
    from sendoff.spool.store import Found

__all__ = ["SpooledIntake"]


class SpooledIntake(Intake):
    """
    Takes events for one destination and keeps them on disk until they have their fate.

    Args:
        destination: The adapter.
        queue: Holds them, empty; its `max_bytes` bound each event, too.
        spool: The destination's part of the spool.
        hooks: Who is told of fates, if the user wants to see them.
        letters: Where events go that are given up, instead of being dropped.
        log: The dispatcher's lines.
    """

    def __init__(
        self,
        destination: Destination,
        queue: SpooledQueue,
        spool: LaneSpool,
        *,
        hooks: Hooks | None,
        letters: LetterBox | None,
        log: Log,
    ) -> None:
        super().__init__(destination, queue, hooks=hooks, letters=letters, log=log)
        self.queue: SpooledQueue = queue
        self.spool = spool

    # --- events -----------------------------------------------------------------------------------

    def accept(self, body: bytes, event_id: str) -> bool:
        """
        Takes an encoded event. Never raises.

        Returns:
            Whether it was accepted.
        """
        # As its like in `Intake`, which must not pay for what is asked here.
        if len(body) > self._max_event:
            self.reject("too_large", f"{len(body):,} bytes, the limit is {self._max_event:,}")
            return False
        ring = False
        place = 0
        evicted: Evicted | None = ()
        now = time.monotonic()
        spool, queue = self.spool, self.queue
        with self.lock:
            closed = queue.closed
            if not closed:
                segment = spool.current
                at = 0 if segment is None else segment.size
                place = spool.append(body, event_id, now)
                if place == FULL:
                    evicted = None
                    self.ledger.dropped[DropReason.SPOOL_FULL] += 1
                else:
                    if segment is not spool.current:
                        at = spool.start_of_place(place)
                    evicted = queue.push_placed(body, event_id, place, at)
                    if evicted is None:
                        self.ledger.dropped[DropReason.OVERFLOW] += 1
                    elif evicted:
                        given_up, queue.given_up = queue.given_up, []
                        spool.settle(runs_of(given_up))
                    ring = queue.rings()
        if spool.trouble is not None:
            self.say_trouble()
        if closed:
            self.reject("closed", "the dispatcher is closed")
            return False
        if ring:
            self.bell.ring()
        if evicted == ():
            return True
        if place == FULL:
            self.log("spool full", SPOOL_FULL)
            if self._hooks is not None:
                self._hooks.given_up(self.name, DropReason.SPOOL_FULL, (body,), (event_id,))
            return False
        self._overflowed(((body, event_id),) if evicted is None else evicted)
        return evicted is not None

    def say_trouble(self) -> None:
        """
        Says what the disk refused, once a minute.
        """
        trouble, self.spool.trouble = self.spool.trouble, None
        if trouble is not None:
            self.log("spool fault", SPOOL_FAULT, trouble)

    def disk_fault(self, exc: Exception) -> None:
        """
        Counts and says something that the disk refused.
        """
        with self.lock:
            self.spool.fault(exc)
        self.say_trouble()

    def stats(self, state: str) -> DestinationStats:
        """
        The ledger at this instant.
        """
        with self.lock:
            self.ledger.spool_bytes = self.spool.bytes
            self.ledger.spool_faults = self.spool.faults
            return super().stats(state)

    # --- fates ------------------------------------------------------------------------------------

    def _settle(self, places: Iterable[int]) -> None:
        fates = runs_of(places)  # not under the lock: a large batch takes a while
        with self.lock:
            self.spool.settle(fates)
        if self.spool.trouble is not None:
            self.say_trouble()

    # --- from disk and back -----------------------------------------------------------------------

    def refill(self, rung: Callable[[], None]) -> Refill:
        """
        What brings back events that are on disk alone.

        Args:
            rung: Wakes a worker; called in the loop.
        """
        return Refill(self, rung)

    def recover(self, found: list[Found], bad: int) -> bool:
        """
        Takes over what a dead process has left. Any thread.

        Args:
            found: Segments with events that have no fate.
            bad: Damaged stretches in files without such events.

        Returns:
            Whether that was still possible: not if the dispatcher is closed.
        """
        with self.lock:
            if self.queue.closed:
                return False
            for item in found:
                self.spool.take(item)
                start = item.segment.start
                self.queue.adopt(Stretch(item.segment.key, item.runs, start, item.size))
                self.ledger.recovered += len(item.runs)
                bad += item.bad
            self.ledger.damaged += bad
        if bad:
            self.log("spool damaged", SPOOL_DAMAGED, bad, self.spool.aside)
        return True

    def next_stretch(self) -> tuple[Stretch, str, int, int, int] | None:
        """
        What is to be read next, if there is room: it, its file, where to begin, how many bytes, and
        the highest number that is certainly written.
        """
        with self.lock:
            stretch = self.queue.next_stretch()
            if stretch is None:
                return None
            path = self.spool.segments[stretch.key].path
            window = self.queue.worth_reading(stretch)
            return stretch, path, stretch.at, window, stretch.runs.last()

    def take_back(self, stretch: Stretch, records: list[Record], base: int) -> bool:
        """
        Queues some of what was read.

        Args:
            stretch: What was to be read.
            records: What was read, or some of it.
            base: Where in the file the reading began.

        Returns:
            Whether there was room for all of them.
        """
        with self.lock:
            return self.queue.take_back(stretch, records, base) == len(records)

    def read_on(self, stretch: Stretch, at: int) -> None:
        """
        Notes that everything up to a place in the file was looked at.
        """
        with self.lock:
            stretch.at = at

    def miss(self, stretch: Stretch, last: int) -> None:
        """
        Gives up events that were not found where they were written.
        """
        with self.lock:
            missing = self.queue.miss(stretch, last)
            if missing:
                self.ledger.dropped[DropReason.SPOOL_DAMAGED] += missing
                self.ledger.damaged += missing
                self.spool.write_off(stretch.key, missing)
        if missing:
            self.log("spool lost", SPOOL_LOST, missing)

    def park(self, returned: list[Batch]) -> list[Batch]:
        """
        Leaves on disk what is there and has no fate.

        Args:
            returned: Batches that workers gave back.

        Returns:
            What is left of the batches.
        """
        with self.lock:
            taken = [
                (place, len(body))
                for batch in returned
                for place, body in zip(batch.places or (), batch.bodies, strict=True)
            ]
            parked = iter(self.queue.park(taken, self.spool.start_of))
            left = [batch.without([next(parked) for _ in batch.bodies]) for batch in returned]
            given_up, self.queue.given_up = self.queue.given_up, []
            self.spool.settle(runs_of(given_up))
            self.spool.rest()
            return [batch for batch in left if len(batch)]

    def unlisten(self) -> None:
        """
        Nobody is there to ring for; and what nobody needs any more goes from the disk.
        """
        super().unlisten()
        with self.lock:
            self.spool.tidy()
        self.spool.leave_if_empty()
