"""
One destination's counts: of fates, and of the requests on the way to them.

Plain: no lock; the lane changes the fates under its own, and of requests only the loop knows. Every
accepted event ends in exactly one count of the fates.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType

from sendoff._queue import EventQueue
from sendoff.events import Action, DropReason, Verdict
from sendoff.observers import DestinationStats

__all__ = ["Ledger"]

# Looked up once: an enum's member costs as much as a call.
DELIVERED = Action.DELIVERED
RETRY = Action.RETRY
HOLD = Action.HOLD
OVERFLOW = DropReason.OVERFLOW


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
        self.request_events = 0
        self.request_bytes = 0
        self.request_seconds = 0.0
        self.answers: Counter[int | str] = Counter()  # by status or failure
        self.fault = ""  # why the last attempt failed, if it did
        self.held = False  # it is a fault of configuration
        self.delivered_at: float | None = None  # by the lane's clock
        self.lane = ""
        self.recovered = 0
        self.damaged = 0
        self.spool_bytes = 0  # this and the next are the spool's, brought here when asked for
        self.spool_faults = 0

    def begun(self, events: int, size: int, again: bool) -> None:
        """
        Counts a request. Like `ended` without the lock: only the loop counts these, and no other
        count goes with them.

        Args:
            events: What it carries.
            size: Bytes of its body.
            again: Whether its events were tried before.
        """
        self.requests += 1
        self.request_events += events
        self.request_bytes += size
        if again:
            self.retries += 1

    def ended(self, answer: int | str, verdict: Verdict, seconds: float, now: float) -> None:
        """
        Counts how a request ended, and notes what that says of the vendor.

        Args:
            answer: The status, or the word for the failure; 0 if none was made, for want of a
                credential.
            verdict: What it means.
            seconds: How long it took.
            now: Seconds of the lane's clock.
        """
        if answer:
            self.request_seconds += seconds
            self.answers[answer] += 1
        action = verdict.action
        if action is DELIVERED:
            self.delivered_at = now
        elif action is RETRY or action is HOLD:
            self.fault = verdict.reason
            self.held = action is HOLD
            return
        if self.fault:
            self.fault = ""
            self.held = False

    def snapshot(self, queue: EventQueue, *, marked_fields: int, state: str) -> DestinationStats:
        """
        The counts at this instant, as users see them.
        """
        # Copied first, in one operation: in the middle of a loop over them a signal handler's call,
        # or the loop's thread, may count something for the first time.
        answers, dropped = dict(self.answers), dict(self.dropped)
        if queue.evicted:
            dropped[OVERFLOW] = dropped.get(OVERFLOW, 0) + queue.evicted
        return DestinationStats(
            delivered=self.delivered,
            rejections=MappingProxyType(dict(self.rejections)),
            dropped=MappingProxyType({str(reason): n for reason, n in dropped.items()}),
            dead_lettered=self.dead_lettered,
            dead_letter_faults=self.dead_letter_faults,
            pending=queue.pending,
            pending_bytes=queue.pending_bytes,
            in_flight=queue.in_hand,
            requests=self.requests,
            retries=self.retries,
            request_events=self.request_events,
            request_bytes=self.request_bytes,
            request_seconds=self.request_seconds,
            answers=MappingProxyType({str(answer): n for answer, n in answers.items()}),
            marked_fields=marked_fields,
            state=state,
            fault=self.fault,
            held=self.held,
            lane=self.lane,
            queue_events=queue.held_events,
            queue_bytes=queue.held_bytes,
            max_queue_events=queue.max_events,
            max_queue_bytes=queue.max_bytes,
            spool_bytes=self.spool_bytes,
            spool_faults=self.spool_faults,
            recovered=self.recovered,
            damaged=self.damaged,
        )
