"""
The bounded queue of encoded events of one destination.

Plain: no lock, clock or I/O; the lane calls it under its lock. Always holds: `held_events` and
`held_bytes` count what is queued plus what workers have in hand, and never pass their limits;
events leave in the order in which they came; an event's place in that order is its sequence number,
which needs no storage, because `head` counts those that left.
"""

from __future__ import annotations

from collections import deque

from sendoff.options import Overflow

__all__ = ["EventQueue"]

Evicted = tuple[tuple[bytes, str], ...]
"""Bodies and ids that had to go."""


class EventQueue:
    """
    A first-in first-out queue, bounded by count and bytes.

    Bodies and ids lie in two deques side by side and not in tuples: 64 bytes less for each event,
    and nothing that the garbage collector has to visit.

    Args:
        max_events: Most events held, queued and in hand.
        max_bytes: Most bytes of bodies held, queued and in hand.
        overflow: Which event goes when a new one does not fit.
    """

    def __init__(self, *, max_events: int, max_bytes: int, overflow: Overflow) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.overflow = overflow
        # All mutable state.
        self.bodies: deque[bytes] = deque()
        self.ids: deque[str] = deque()
        self.places: deque[int] | None = None  # where each one is on disk, if there is a spool
        self.queued_bytes = 0
        self.held_events = 0
        self.held_bytes = 0
        self.taking = False  # a worker is in the middle of taking the oldest
        self.head = 0  # the sequence number of the oldest queued event

    def __len__(self) -> int:
        """
        Events queued, not those in hand.
        """
        return len(self.bodies)

    @property
    def tail(self) -> int:
        """
        The sequence number that the next event will get.
        """
        return self.head + len(self.bodies)

    @property
    def pending(self) -> int:
        """
        Events without a fate.
        """
        return self.held_events

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
        return self.held_events - len(self.bodies)

    def before(self, target: int) -> int:
        """
        Events not yet taken that have a lower sequence number.
        """
        return max(0, target - self.head)

    def push(self, body: bytes, event_id: str) -> Evicted | None:
        """
        Takes an event.

        Returns:
            The events that had to go for it, mostly none; or None if the new one itself must go.
        """
        size = len(body)
        evicted: Evicted = ()
        if self.held_events >= self.max_events or self.held_bytes + size > self.max_bytes:
            made_room = self._make_room(size) if self.overflow == "drop_oldest" else None
            if made_room is None:
                return None
            evicted = made_room
        # Counted before it is visible: a call that interrupts this one (a signal handler's) sees no
        # room too many.
        self.held_events += 1
        self.held_bytes += size
        self.queued_bytes += size
        # Not by `append`: the interpreter runs signal handlers after calls, and one that pushes
        # there would come between a body and its id.
        self.bodies += (body,)
        self.ids += (event_id,)
        return evicted

    def _make_room(self, size: int) -> Evicted | None:
        if self.taking:
            return None  # this call interrupts the taking: a signal handler's
        held_by_workers = self.held_bytes - self.queued_bytes
        only_workers = self.held_events - len(self.bodies)
        if held_by_workers + size > self.max_bytes or only_workers >= self.max_events:
            return None  # what workers have in hand stays: not even an empty queue would do
        evicted = []
        while self.held_events >= self.max_events or self.held_bytes + size > self.max_bytes:
            event = self.pop()
            self.release(1, len(event[0]))
            evicted.append(event)
        return tuple(evicted)

    def pop(self) -> tuple[bytes, str]:
        """
        Hands the oldest event to a worker; it stays held until `release`.
        """
        self.taking = True
        body = self.bodies.popleft()
        event_id = self.ids.popleft()
        self.taking = False
        self.popped(1, len(body))
        return body, event_id

    def popped(self, events: int, size: int) -> None:
        """
        Notes that the oldest events were taken out of `bodies` and `ids`.
        """
        self.queued_bytes -= size
        self.head += events

    def release(self, events: int, size: int) -> None:
        """
        Forgets events that have their fate.
        """
        self.held_events -= events
        self.held_bytes -= size
