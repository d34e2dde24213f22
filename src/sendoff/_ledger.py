"""
One destination's counts of fates.

Plain: no lock; the lane changes it under its own. Every accepted event ends in exactly one of these
counts.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType

from sendoff._queue import EventQueue
from sendoff.events import DropReason
from sendoff.observers import DestinationStats

__all__ = ["Ledger"]


class Ledger:
    """
    Delivered, rejected, dropped, dead-lettered; what is pending, the queue knows.
    """

    def __init__(self) -> None:
        # All mutable state.
        self.delivered = 0
        self.rejections: Counter[str] = Counter()
        self.dropped: Counter[DropReason] = Counter()
        self.dead_lettered = 0
        self.dead_letter_faults = 0
        self.requests = 0
        self.retries = 0
        self.lane = ""
        self.recovered = 0
        self.damaged = 0
        self.spool_bytes = 0  # this and the next are the spool's, brought here when asked for
        self.spool_faults = 0

    def snapshot(self, queue: EventQueue, *, marked_fields: int, state: str) -> DestinationStats:
        """
        The counts at this instant, as users see them.
        """
        return DestinationStats(
            delivered=self.delivered,
            rejections=MappingProxyType(dict(self.rejections)),
            dropped=MappingProxyType({str(reason): n for reason, n in self.dropped.items()}),
            dead_lettered=self.dead_lettered,
            dead_letter_faults=self.dead_letter_faults,
            pending=queue.pending,
            pending_bytes=queue.pending_bytes,
            in_flight=queue.in_hand,
            requests=self.requests,
            retries=self.retries,
            marked_fields=marked_fields,
            state=state,
            lane=self.lane,
            spool_bytes=self.spool_bytes,
            spool_faults=self.spool_faults,
            recovered=self.recovered,
            damaged=self.damaged,
        )
