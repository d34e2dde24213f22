"""
The bounded queue of encoded events of one destination.

Plain: no lock, clock or I/O; the lane calls it under its lock, but for one thing: while `light`
allows it, a call puts its event in without the lock, in one operation that nothing interrupts, and
the counts follow at the next `weigh`. Always holds: after that, `held_events` and `held_bytes`
count what is queued plus what workers have in hand, and never pass their limits; events leave in
the order in which they came; an event's place in that order is its sequence number, which needs no
storage, because `head` counts those that left.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from itertools import islice, repeat
from typing import Final, cast

from sendoff.options import Overflow

__all__ = ["EventQueue"]

Evicted = tuple[tuple[bytes, str], ...]
"""Bodies and ids that had to go."""

Taken = tuple[list[bytes], list[str], list[int] | None]
"""Bodies, ids and places on disk."""

NEVER = math.inf

_popleft: Final = deque[bytes | str].popleft
_popleft_place: Final = deque[int].popleft

STRETCH = 128
"""
Events that may be put in between two weighings: what the first costs is then shared by many. Fewer
than one call in a hundred weighs.
"""

LIGHT = 2_048
"""
Bytes of the largest event that is put in without the lock: most are far smaller, and so many bytes
are set aside for each of two stretches, half a megabyte in all.
"""


class EventQueue:
    """
    A first-in first-out queue, bounded by count and bytes.

    Bodies and ids lie in one deque, each body before its id, and not in tuples: 64 bytes less for
    each event, and nothing that the garbage collector has to visit.

    Args:
        max_events: Most events held, queued and in hand.
        max_bytes: Most bytes of bodies held, queued and in hand.
        overflow: Which event goes when a new one does not fit.
        places: Empty; holds where each event is on disk, if there is a spool.
    """

    def __init__(
        self,
        *,
        max_events: int,
        max_bytes: int,
        overflow: Overflow,
        places: deque[int] | None = None,
    ) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.overflow = overflow
        # All mutable state.
        self.items: deque[bytes | str] = deque()
        self.places = places  # beside the items: where each event is on disk, if there is a spool
        # What takes out of them, in C throughout, so that taking many is one operation, too.
        self._oldest = map(_popleft, repeat(self.items))
        self._oldest_places = map(
            _popleft_place, repeat(deque[int]() if places is None else places)
        )
        self._events = cast(
            "Iterator[tuple[bytes, str, int | None]]",
            zip(
                self._oldest,
                self._oldest,
                repeat(None) if places is None else self._oldest_places,
                strict=False,  # none of them ever ends
            ),
        )
        self.light = 0  # with fewer items than this, a call may put one in without the lock
        self.weighed = 0  # items, from the oldest on, that are in the counts
        self.closed = False  # nothing may be put in
        self.end = 0  # the sequence number of the first event that came behind the close
        self.ring_events: float = NEVER  # whoever finds so many events or bytes queued rings
        self.ring_bytes: float = NEVER
        self.queued_bytes = 0
        self.held_events = 0
        self.held_bytes = 0
        self.evicted = 0  # events that had to go for others, and counted here
        self.head = 0  # the sequence number of the oldest queued event

    def __len__(self) -> int:
        """
        Events queued, not those in hand.
        """
        return len(self.items) // 2

    def __iter__(self) -> Iterator[tuple[bytes, str]]:
        """
        The queued events, the oldest first: body and id.
        """
        items = iter(tuple(self.items))
        return cast("Iterator[tuple[bytes, str]]", zip(items, items, strict=True))

    @property
    def tail(self) -> int:
        """
        The sequence number that the next event will get.
        """
        return self.head + len(self.items) // 2

    @property
    def pending(self) -> int:
        """
        Events without a fate.
        """
        return self.held_events + (len(self.items) - self.weighed) // 2

    @property
    def pending_bytes(self) -> int:
        """
        Bytes of the events without a fate.
        """
        return self.held_bytes

    @property
    def in_hand(self) -> int:
        """
        Events that workers have.
        """
        return self.held_events - self.weighed // 2

    def before(self, target: int) -> int:
        """
        Events not yet taken that have a lower sequence number.
        """
        return max(0, min(target, self.tail) - self.head)

    def sizes(self, start: int, stop: int) -> Iterator[int]:
        """
        The sizes of bodies.

        Args:
            start: Of the items, the place of the first body.
            stop: The place behind the last one.
        """
        # By their places and not by going through: a call that puts one in meanwhile disturbs no
        # place.
        return map(len, map(self.items.__getitem__, range(start, stop, 2)))

    # --- coming in --------------------------------------------------------------------------------

    def weigh(self) -> None:
        """
        Counts what was put in without the lock.
        """
        while True:
            head, start = self.head, self.weighed
            count = len(self.items)
            if count == start:
                return
            try:
                size = sum(self.sizes(start, count))
            except IndexError:  # a signal handler's call has driven events out meanwhile
                continue
            # Unless such a call has weighed them, too. From here to the last count no other code
            # runs: the interpreter looks for some after calls only.
            if self.weighed == start and self.head == head:
                self.weighed = count
                self.held_events += (count - start) // 2
                self.held_bytes += size
                self.queued_bytes += size
                return

    def lighten(self) -> None:
        """
        Lets the next events be put in without the lock, if there is room for a stretch of them, and
        nobody wants to be told before; weigh first.
        """
        # Twice the stretch: as many as may have seen the mark just before it was reached. Nothing
        # is called here, so no signal handler closes the queue in the middle of it.
        events, size = 2 * STRETCH, 2 * STRETCH * LIGHT
        self.light = (
            self.weighed + 2 * STRETCH
            if self.held_events + events <= self.max_events
            and self.held_bytes + size <= self.max_bytes
            and self.weighed // 2 + events <= self.ring_events
            and self.queued_bytes + size <= self.ring_bytes
            and not self.closed
            else 0
        )

    def rings(self) -> bool:
        """
        Whether somebody wants to be told now; once is enough. Weigh first.
        """
        if self.weighed // 2 < self.ring_events and self.queued_bytes < self.ring_bytes:
            return False
        self.ring_events = self.ring_bytes = NEVER
        return True

    def push(self, body: bytes, event_id: str) -> Evicted | None:
        """
        Takes an event.

        Returns:
            The events that had to go for it, mostly none; or None if the new one itself must go.
        """
        # An iterator: to make one may run the garbage collector, and with it anybody's code.
        size, pair = len(body), iter((body, event_id))
        evicted: list[tuple[bytes, str]] = []
        while True:
            self.weigh()
            if self.held_events < self.max_events and self.held_bytes + size <= self.max_bytes:
                # In one operation, and nothing is called since the look at the bounds: the
                # interpreter runs signal handlers after calls, and one that pushes there would take
                # the room, or come between a body and its id.
                self.items += pair
                break
            if not self._may_evict(size):
                return self._no_room(evicted, body, event_id)
            evicted.append(self.evict())
        self.weigh()
        return tuple(evicted) if evicted else ()

    def _no_room(
        self, evicted: list[tuple[bytes, str]], body: bytes, event_id: str
    ) -> Evicted | None:
        if not evicted:
            return None
        self.evicted += 1  # a signal handler's call took the room that was made
        return (*evicted, (body, event_id))

    def _may_evict(self, size: int) -> bool:
        """
        Whether queued events are to go for a new one; what workers have in hand stays, and where
        not even an empty queue would do, nothing goes in vain.
        """
        return (
            self.overflow == "drop_oldest"
            and self.held_events - self.weighed // 2 < self.max_events
            and self.held_bytes - self.queued_bytes + size <= self.max_bytes
        )

    def evict(self) -> tuple[bytes, str]:
        """
        Drives the oldest event out, and counts it.
        """
        event = self.pop()
        size = len(event[0])
        # In one go: whoever asks for the counts finds it in one of them.
        self.held_events -= 1
        self.held_bytes -= size
        self.evicted += 1
        return event

    def close(self, *, closed: bool) -> None:
        """
        From now on nothing may be put in, or something may again. What is in stays.
        """
        self.light = 0
        self.weigh()
        self.closed = closed
        self.end = self.tail

    # --- going out --------------------------------------------------------------------------------

    # In both, what is queued and what is counted change in one go: nothing is called from the first
    # to the last of the marked lines, so a signal handler's call comes before or after all of them.

    def take_one(self) -> tuple[bytes, str, int | None]:
        """
        Hands the oldest event to a worker; it stays held until `release`.

        Returns:
            Body, id, and place on disk.
        """
        while True:
            if not self.weighed:
                self.weigh()
            head = self.head
            size = len(self.items[0])
            if self.head != head:
                continue  # a signal handler's call has driven that one out
            # No loop: to begin one is no call, where `next` would be one.
            for event in self._events:  # from here
                self.weighed -= 2
                self.queued_bytes -= size
                self.head = head + 1
                if self.light:
                    self.light -= 2  # as many may still come in as before
                return event  # to here

    def take(self, events: int, size: int, head: int) -> Taken | None:
        """
        Hands the oldest events to a worker; they stay held until `release`.

        Args:
            events: How many; so many have been weighed.
            size: The bytes of their bodies.
            head: The sequence number of the first of them.

        Returns:
            Bodies, ids, and places on disk; None if a signal handler's call has driven the first
            one out meanwhile, so that it is to be looked again.
        """
        self.light = 0
        taken: list[bytes | str] = []
        on_disk: list[int] = []
        oldest = islice(self._oldest, 2 * events)
        places = islice(self._oldest_places, 0 if self.places is None else events)
        if self.head != head:  # from here
            return None
        taken += oldest
        on_disk += places
        self.weighed -= 2 * events
        self.queued_bytes -= size
        self.head = head + events  # to here
        bodies, ids = cast("list[bytes]", taken[::2]), cast("list[str]", taken[1::2])
        return bodies, ids, None if self.places is None else on_disk

    def pop(self) -> tuple[bytes, str]:
        """
        Takes the oldest event out, to be given up; it stays held until `release`.
        """
        return self.take_one()[:2]

    def release(self, events: int, size: int) -> None:
        """
        Forgets events that have their fate.
        """
        self.held_events -= events
        self.held_bytes -= size
