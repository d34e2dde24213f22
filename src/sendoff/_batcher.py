"""
From queued events to batches: as many as fit a request, or as few as have waited long enough.

Plain: no lock, clock or I/O. Always holds: a batch's body, framing counted, is at most `max_bytes`;
a batch is never empty; the event that does not fit stays at the head of the queue and opens the
next batch.
"""

from __future__ import annotations

import math

from sendoff._queue import EventQueue, Taken
from sendoff.events import Framing

__all__ = ["Batch", "Batcher"]

CHUNK = 256
"""
Events taken in one go: a caller's thread waits for the lane's lock no longer than this takes, some
50 µs.
"""


class Batch:
    """
    Encoded events that go in one request; with a spool, each with its place on disk.
    """

    __slots__ = (
        "bodies",
        "first",
        "ids",
        "parent",
        "passed",
        "places",
        "size",
        "started",
        "suspect",
        "tries",
    )

    def __init__(
        self,
        bodies: list[bytes],
        ids: list[str],
        first: int,
        parent: Batch | None = None,
        places: list[int] | None = None,
    ) -> None:
        self.bodies = bodies
        self.ids = ids
        self.places = places  # None without a spool
        self.first = first  # the sequence number of the oldest event, or a lower bound of it
        self.parent = parent  # the batch that was halved
        self.suspect = False  # refused for what is in it
        self.passed = 0  # events of it that were delivered alone after that
        self.size = len(bodies[0]) if len(bodies) == 1 else sum(map(len, bodies))
        self.started: float | None = None  # when the first try began
        self.tries = 0

    def __len__(self) -> int:
        """
        Events in it.
        """
        return len(self.bodies)

    def add(self, body: bytes, event_id: str) -> None:
        """
        Takes one more event.
        """
        self.bodies.append(body)
        self.ids.append(event_id)
        self.size += len(body)

    def take(self, taken: Taken, size: int) -> None:
        """
        Takes what came out of a queue.

        Args:
            taken: Bodies, ids and places.
            size: The bytes of the bodies.
        """
        bodies, ids, places = taken
        self.bodies += bodies
        self.ids += ids
        if places is not None:
            self.places = places if self.places is None else self.places + places
        self.size += size

    def let_go(self, events: int) -> bool:
        """
        Forgets the last events, which have their fate: to free 15,000 objects takes milliseconds,
        so a large batch goes in slices.

        Returns:
            Whether there are more.
        """
        del self.bodies[-events:], self.ids[-events:]
        if self.places is not None:
            del self.places[-events:]
        return bool(self.bodies)

    def halves(self) -> tuple[Batch, Batch]:
        """
        Two batches, in order; needs two events or more.
        """
        middle = len(self.bodies) // 2
        return self._part(0, middle), self._part(middle, len(self.bodies))

    def singles(self) -> list[Batch]:
        """
        A batch for each event, in order.
        """
        return [self._part(at, at + 1) for at in range(len(self.bodies))]

    def without(self, gone: list[bool]) -> Batch:
        """
        A batch of those events that are not gone.
        """
        kept = [at for at, is_gone in enumerate(gone) if not is_gone]
        places = None if self.places is None else [self.places[at] for at in kept]
        bodies, ids = [self.bodies[at] for at in kept], [self.ids[at] for at in kept]
        return Batch(bodies, ids, self.first, self.parent, places)

    def _part(self, start: int, stop: int) -> Batch:
        places = None if self.places is None else self.places[start:stop]
        return Batch(self.bodies[start:stop], self.ids[start:stop], self.first, self, places)


class Batcher:
    """
    Decides when a batch is due and what is in it.

    Args:
        max_bytes: Largest body, framing included.
        max_events: Most events; None for no limit but the bytes.
        linger: Seconds that the oldest event of a batch waits for more.
        framing: What stands around and between the events.
    """

    def __init__(
        self, *, max_bytes: int, max_events: int | None, linger: float, framing: Framing
    ) -> None:
        self.max_bytes = max_bytes
        self.max_events = math.inf if max_events is None else max_events
        self.linger = linger
        self._separator = len(framing.separator)
        self._around = len(framing.opening) + len(framing.closing)
        # All mutable state.
        self.opened: float | None = None  # when the batch that is being filled was first seen

    def full_at(self) -> tuple[int, float]:
        """
        The queued bytes and events from which a batch surely fills a request.
        """
        return self.max_bytes, self.max_events

    def due_in(self, queue: EventQueue, now: float, *, urgent: bool = False) -> float:
        """
        Seconds until a batch should go: 0 for now, inf if nothing is queued.

        Args:
            queue: The queue.
            now: Seconds of a monotonic clock.
            urgent: Whether somebody waits for what is queued, so that waiting for more is wrong.
        """
        if not queue:
            self.opened = None
            return math.inf
        if (
            urgent
            or self.linger == 0
            or len(queue) >= self.max_events
            or queue.queued_bytes >= self.max_bytes
        ):
            return 0.0
        if self.opened is None:
            self.opened = now
        return max(0.0, self.opened + self.linger - now)

    def fill(self, queue: EventQueue, batch: Batch, room: int) -> int:
        """
        Moves up to `CHUNK` events from the queue to a batch.

        Args:
            queue: The queue.
            batch: The batch; its `size` is kept.
            room: Bytes of body that the batch may still grow by; `max_bytes` for an empty one.

        Returns:
            The room left, or -1 when the batch is complete.
        """
        # Mostly a whole chunk fits, and is moved without a look at each event: 15,000 events fill a
        # body of 5 MB, and the loop stands still meanwhile.
        start = len(batch.bodies)
        taken = None
        while taken is None:
            head = queue.head
            try:
                # Perhaps it has been said since the last turn that batches hold one event.
                most = max(0, self.max_events - start)
                count = int(min(CHUNK, queue.weighed // 2, most))
                size = sum(queue.sizes(0, 2 * count))
                cost = size + self._framed(start + count) - self._framed(start)
                # Beyond the limit an event goes alone all the same.
                complete = count < CHUNK
                if cost > room and start + count != 1:
                    complete = True
                    count, size = self._fitting(queue, start, room)
            except IndexError:  # a signal handler's call has driven events out meanwhile
                continue
            taken = queue.take(count, size, head)
        batch.take(taken, size)
        return -1 if complete else room - cost

    def _framed(self, events: int) -> int:
        """
        Bytes of framing that so many events have; one alone goes without.
        """
        return self._around + self._separator * (events - 1) if events > 1 else 0

    def _fitting(self, queue: EventQueue, start: int, room: int) -> tuple[int, int]:
        """
        How many of the next events fit behind those that a batch has, and their size.
        """
        room += self._framed(start)
        count = size = 0
        for each in queue.sizes(0, min(2 * CHUNK, queue.weighed)):
            longer = size + each
            if start + count and longer + self._framed(start + count + 1) > room:
                break
            count += 1
            size = longer
        return count, size

    def one(self, queue: EventQueue) -> Batch:
        """
        Moves the oldest event from the queue to a batch of its own: what `fill` does where batches
        hold one event, in a fraction of the time.
        """
        first = queue.head
        body, event_id, place = queue.take_one()
        return Batch([body], [event_id], first, None, None if place is None else [place])

    def took(self, queue: EventQueue, now: float) -> None:
        """
        Notes that a batch was taken: what is left in the queue begins to wait now.
        """
        self.opened = now if queue else None

    def one_by_one(self) -> None:
        """
        From now on every batch holds one event.
        """
        self.max_events = 1
