"""
The queue of a destination with a spool: goes on on disk where the memory ends.

Plain: no lock, clock or I/O. Always holds: events leave in the order in which they became known,
whether they are in memory or on disk alone; sequence numbers count both, and also those that could
not be read back, until their turn has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sendoff._queue import EventQueue, Evicted, Taken
from sendoff.options import Overflow
from sendoff.spool.places import IN_MEMORY, NUMBER, PLACE_BITS
from sendoff.spool.record import Record
from sendoff.spool.runs import Runs, Stretch

__all__ = ["SpooledQueue", "Stretch"]

RECORD_BYTES = 64
"""Bytes of a record beside the body, about."""


class _Waiting(NamedTuple):
    """
    An event that the disk did not take, behind others that are on disk alone.
    """

    body: bytes
    id: str


class SpooledQueue(EventQueue):
    """
    A first-in first-out queue, bounded in memory, with the rest on disk.

    Args:
        max_events: Most events held in memory, queued and in hand.
        max_bytes: Most bytes of bodies held in memory, queued and in hand.
        overflow: Which event goes when one that the disk did not take does not fit either.
    """

    def __init__(self, *, max_events: int, max_bytes: int, overflow: Overflow) -> None:
        # All mutable state, further to the queue's. Places below 0: in memory alone.
        self.places: deque[int] = deque()
        super().__init__(
            max_events=max_events, max_bytes=max_bytes, overflow=overflow, places=self.places
        )
        self.given_up: list[int] = []  # places of events that had to go, for whoever minds the disk
        self.disk_events = 0
        self.disk_bytes = 0
        self.waiting = 0  # events in memory among those behind
        self._behind: deque[Stretch | _Waiting] = deque()
        self._gaps: deque[tuple[int, int]] = deque()  # (sequence number, events) that are no more
        self._missing = 0  # events in the gaps

    # --- seen by the lane -------------------------------------------------------------------------

    @property
    def tail(self) -> int:
        """
        The sequence number that the next event will get.
        """
        return self.head + len(self) + self._missing + self.disk_events + self.waiting

    @property
    def pending(self) -> int:
        """
        Events without a fate.
        """
        return self.held_events + self.disk_events

    @property
    def pending_bytes(self) -> int:
        """
        Bytes of the events without a fate.
        """
        return self.held_bytes + self.disk_bytes

    @property
    def in_hand(self) -> int:
        """
        Events that workers have.
        """
        return super().in_hand - self.waiting

    def before(self, target: int) -> int:
        """
        Events not yet taken that have a lower sequence number.
        """
        gone = sum(min(n, max(0, target - first)) for first, n in self._gaps)
        return max(0, target - self.head - gone)

    def take_one(self) -> tuple[bytes, str, int | None]:
        """
        Hands the oldest event to a worker; it stays held until `release`.
        """
        taken = super().take_one()
        self._pass_gaps()
        return taken

    def take(self, events: int, size: int, head: int) -> Taken | None:
        """
        Hands the oldest events to a worker; they stay held until `release`.
        """
        taken = super().take(events, size, head)
        self._pass_gaps()
        return taken

    def _pass_gaps(self) -> None:
        while self._gaps and self._gaps[0][0] <= self.head:
            _, missing = self._gaps.popleft()
            self.head += missing
            self._missing -= missing

    # --- coming in --------------------------------------------------------------------------------

    def lighten(self) -> None:
        """
        Here no call puts an event in without the lock: it is on disk before.
        """

    def push_placed(self, body: bytes, event_id: str, place: int, at: int) -> Evicted | None:
        """
        Takes an event that was given to the disk.

        Args:
            body: The encoded event.
            event_id: Its id.
            place: Where it is on disk; below 0 if it is not.
            at: Where in the segment's file it is, or a place before it.

        Returns:
            Those that had to go for it, none if it is on disk; or None if the new one must go.
        """
        size, pair = len(body), iter((body, event_id))
        evicted: list[tuple[bytes, str]] = []
        while True:
            fits = self.held_events < self.max_events and self.held_bytes + size <= self.max_bytes
            if place >= 0 and (self._behind or not fits):
                self._put_behind(place, at, size)
                return ()
            if fits:
                break  # and nothing runs other code until the event lies there
            if not self._may_evict(size):
                return self._no_room(evicted, body, event_id)
            evicted.append(self.evict())
        self.held_events += 1
        self.held_bytes += size
        if self._behind:
            self._behind.append(_Waiting(body, event_id))
            self.waiting += 1
        else:
            self.queued_bytes += size
            self.weighed += 2
            self.items += pair
            self.places.append(place)
        return tuple(evicted)

    def adopt(self, stretch: Stretch) -> None:
        """
        Takes events that another process left on disk.
        """
        self._behind.append(stretch)
        self.disk_events += len(stretch.runs)
        self.disk_bytes += stretch.size

    def pop(self) -> tuple[bytes, str]:
        """
        Takes the oldest event out, to be given up; it stays held until `release`.
        """
        body, event_id, place = self.take_one()
        if place is not None and place >= 0:
            self.given_up.append(place)
        return body, event_id

    def push(self, body: bytes, event_id: str) -> Evicted | None:
        """
        Takes an event that is in memory alone.
        """
        return self.push_placed(body, event_id, IN_MEMORY, 0)

    def _fits(self, size: int) -> bool:
        return self.held_events < self.max_events and self.held_bytes + size <= self.max_bytes

    def _is_idle(self) -> bool:
        # Then the next event may come whatever the bounds say: one larger than the memory goes
        # alone, and those that the disk refused, which wait behind it, do not bar its way.
        return self.held_events == self.waiting

    def _queue(self, body: bytes, event_id: str, place: int) -> None:
        size, pair = len(body), iter((body, event_id))
        self.queued_bytes += size
        self.weighed += 2
        self.items += pair
        self.places.append(place)

    def _put_behind(self, place: int, at: int, size: int) -> None:
        key, number = place >> PLACE_BITS, place & NUMBER
        last = self._behind[-1] if self._behind else None
        if not isinstance(last, Stretch) or last.key != key:
            last = Stretch(key, Runs(), at, 0)
            self._behind.append(last)
        last.runs.add(number)
        last.size += size
        self.disk_events += 1
        self.disk_bytes += size

    # --- coming back from disk --------------------------------------------------------------------

    def is_half_empty(self) -> bool:
        """
        Whether there is room worth a reading: half of the memory, or nothing is queued.
        """
        return not self.items or (
            self.held_events * 2 <= self.max_events and self.held_bytes * 2 <= self.max_bytes
        )

    def worth_reading(self, stretch: Stretch) -> int:
        """
        Bytes of a stretch's file that about fill the room there is.
        """
        each = stretch.size // len(stretch.runs) + RECORD_BYTES
        events = min(self.max_events - self.held_events, (self.max_bytes - self.held_bytes) // each)
        return max(1, events) * each

    def next_stretch(self) -> Stretch | None:
        """
        What is to be read next, if anything is on disk alone and there is room for an event.
        """
        while self._behind:
            first = self._behind[0]
            if isinstance(first, Stretch):
                if first.runs:
                    return first if self._fits(1) or self._is_idle() else None
                self._behind.popleft()
            else:
                self._behind.popleft()
                self.waiting -= 1
                self._queue(first.body, first.id, IN_MEMORY)
        return None

    def take_back(self, stretch: Stretch, records: Sequence[Record], base: int) -> int:
        """
        Takes what was read of a stretch, as far as there is room.

        Args:
            stretch: The first one behind.
            records: What was read, in order.
            base: Where in the file the reading began.

        Returns:
            How many records were looked at; fewer than there are if the memory is full.
        """
        for looked_at, record in enumerate(records):
            if record.number in stretch.runs:
                size = len(record.body)
                if not self._fits(size) and not self._is_idle():
                    return looked_at
                stretch.runs.remove(record.number)
                stretch.size -= size
                self.disk_events -= 1
                self.disk_bytes -= size
                self.held_events += 1
                self.held_bytes += size
                self._queue(record.body, record.id, stretch.key << PLACE_BITS | record.number)
            stretch.at = base + record.end
        return len(records)

    def miss(self, stretch: Stretch, last: int) -> int:
        """
        Gives up what should have been read of a stretch by now.

        Args:
            stretch: The first one behind.
            last: The highest number that was written before the reading.

        Returns:
            How many events that are.
        """
        missing = stretch.runs.cut(last)
        if missing:
            self.disk_events -= missing
            if not stretch.runs:
                self.disk_bytes -= stretch.size
                stretch.size = 0
            self._gaps.append((self.head + len(self) + self._missing, missing))
            self._missing += missing
            self._pass_gaps()
        return missing

    # --- going back to disk -----------------------------------------------------------------------

    def park(self, taken: Sequence[tuple[int, int]], start_of: Callable[[int], int]) -> list[bool]:
        """
        Forgets what is in memory and on disk, at the end; what is in memory alone stays queued.

        Args:
            taken: Places and sizes of events that workers had in hand and gave back, in order.
            start_of: Where the events of a segment begin, by its key; below 0 if they cannot be
                read again.

        Returns:
            For each of the taken, whether it is now on disk alone.
        """
        stretches: deque[Stretch | _Waiting] = deque()
        starts: dict[int, int] = {-1: -1}

        def put(place: int, size: int) -> bool:
            key = place >> PLACE_BITS
            if key not in starts:
                starts[key] = start_of(key)
            if starts[key] < 0:
                return False
            last = stretches[-1] if stretches else None
            if not isinstance(last, Stretch) or last.key != key:
                last = Stretch(key, Runs(), starts[key], 0)
                stretches.append(last)
            last.runs.add(place & NUMBER)
            last.size += size
            self.disk_events += 1
            self.disk_bytes += size
            self.release(1, size)
            return True

        self.head += self._missing
        self._gaps.clear()
        self._missing = 0
        parked = [put(place, size) for place, size in taken]
        self.head -= sum(parked)  # they are queued again, before all others
        queued, places = tuple(self), tuple(self.places)
        self.items.clear()
        self.places.clear()
        self.weighed = self.queued_bytes = 0
        for (body, event_id), place in zip(queued, places, strict=True):
            if not put(place, len(body)):
                self._queue(body, event_id, IN_MEMORY)
                if place >= 0:
                    self.given_up.append(place)
        for one in self._behind:
            if isinstance(one, Stretch):
                stretches.append(one)
            else:
                self.waiting -= 1
                self._queue(one.body, one.id, IN_MEMORY)
        self._behind = stretches
        return parked
