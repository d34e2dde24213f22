"""
What users see of a dispatcher: the ledger's snapshot, the report of a flush, and damped log lines.

`DestinationStats.submitted` is computed as the sum of the fates, so a snapshot cannot contradict
itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DestinationStats", "Report", "Stats"]

LOG_INTERVAL = 60.0
"""Seconds in which one kind of log line is written once."""

MAX_KINDS = 64
"""Kinds of log lines that are told apart: a destination of somebody's may make up reasons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationStats:
    """
    One destination's ledger at one instant. Counts are events unless said otherwise.

    Attributes:
        delivered: The vendor answered that it has them.
        rejections: Not taken at the call, by reason.
        dropped: Taken and given up, by reason (`DropReason`).
        dead_lettered: Taken, given up and written to the dead letters; not counted in `dropped`.
        dead_letter_faults: Those of `dropped` that the dead letters could not be written for: the
            file is full or cannot be opened.
        pending: Queued, in flight, waiting for a retry, or on disk in the spool.
        pending_bytes: Bytes of the encoded pending events.
        in_flight: Pending events that a worker has in hand.
        requests: Requests given to the transport, retries included.
        retries: Those of `requests` that carried events which had been tried before.
        request_events: Events in all `requests`; one that was tried twice counts twice.
        request_bytes: Bytes of the bodies of all `requests`, as they were sent.
        request_seconds: Seconds that all `requests` took, from leave to send to the answer.
        answers: How `requests` ended: by the answer's status, such as ``"202"``, or by the word for
            getting none, such as ``"timeout"``. What was cut off by an end is in neither.
        marked_fields: Fields that had no JSON form and were replaced by a marker.
        state: ``"closed"`` (sending), ``"open"`` (waiting out a fault), ``"half_open"`` (probing):
            the breaker's.
        fault: Why the last request failed (a reason of the table of statuses); ``""`` if it did
            not, or if only its events were at fault.
        held: Whether `fault` is one of configuration, such as a wrong key: everything is kept and
            tried slowly until somebody mends it.
        held_seconds: Seconds in which `state` was not ``"closed"``, in all.
        delivery_age: Seconds since the vendor last took something; None if it never did.
        oldest_age: Seconds that the oldest pending event has been there, at least: 0 when `stats`
            is asked for the first time since it came, and then as exact as it is asked often.
        lane: How requests go: ``"fast"`` (connections of our own) or ``"session"`` (aiohttp's
            ClientSession: through a proxy, a session of yours, or for what the fast lane does not
            know); a transport of yours by its class; ``""`` before the first attempt.
        queue_events: Those of `pending` that are in memory.
        queue_bytes: Bytes of these.
        max_queue_events: The bound of `queue_events`.
        max_queue_bytes: The bound of `queue_bytes`.
        rate_limit: Requests that may be sent in a second; None for no limit.
        spool_bytes: Bytes on disk, in this dispatcher's part of the spool.
        spool_faults: Times that the disk refused something.
        recovered: Events taken over from a process that is gone; they count as pending first.
        damaged: Places in the spool's files that could not be read.
    """

    delivered: int
    rejections: Mapping[str, int]
    dropped: Mapping[str, int]
    dead_lettered: int
    dead_letter_faults: int = 0
    pending: int
    pending_bytes: int
    in_flight: int
    requests: int
    retries: int
    request_events: int = 0
    request_bytes: int = 0
    request_seconds: float = 0.0
    answers: Mapping[str, int] = field(default_factory=dict)
    marked_fields: int
    state: str
    fault: str = ""
    held: bool = False
    held_seconds: float = 0.0
    delivery_age: float | None = None
    oldest_age: float = 0.0
    lane: str = ""
    queue_events: int = 0
    queue_bytes: int = 0
    max_queue_events: int = 0
    max_queue_bytes: int = 0
    rate_limit: int | None = None
    spool_bytes: int = 0
    spool_faults: int = 0
    recovered: int = 0
    damaged: int = 0

    @property
    def rejected(self) -> int:
        """
        Events not taken at the call, for whatever reason.
        """
        return sum(self.rejections.values())

    @property
    def submitted(self) -> int:
        """
        Events that calls meant for this destination: the sum of all fates.
        """
        return (
            self.delivered
            + self.rejected
            + sum(self.dropped.values())
            + self.dead_lettered
            + self.pending
        )


@dataclass(frozen=True, slots=True)
class Stats:
    """
    A dispatcher's ledger at one instant.

    Attributes:
        destinations: One ledger for each destination, by its name.
        hook_failures: Exceptions and wrong results of `before_send`, `on_drop` and `on_outcome`, by
            the name of the option; only those above 0.
        hook_missed: Events that `on_drop` and `on_outcome` were too slow to be shown, by the name
            of the option; only those above 0.
        state: ``"running"``; ``"idle"`` before the first call in a loop and after the end of one;
            ``"closed"`` after `aclose`, when calls are rejected.
        max_spool_bytes: The bound of `spool_bytes` over all destinations; 0 without a spool.
    """

    destinations: Mapping[str, DestinationStats]
    hook_failures: Mapping[str, int] = field(default_factory=dict)
    hook_missed: Mapping[str, int] = field(default_factory=dict)
    state: str = "idle"
    max_spool_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """
    What `flush` or `aclose` left; truthy when that is nothing.

    Attributes:
        left: Events without a fate (after `aclose`: given up for `shutdown`, or kept in the spool),
            by destination; only those above 0.
        elapsed: Seconds the call took.
    """

    left: Mapping[str, int]
    elapsed: float

    def __bool__(self) -> bool:
        """
        Whether nothing is left.
        """
        return not self.left


class LogDamper:
    """
    Lets one log line of a kind through in an interval, and at most a few in all; counts those it
    holds back.

    Args:
        interval: Seconds between two lines of a kind. If there are more kinds than `most`, they
            take turns, so it is longer.
        most: Lines of any kind in one interval.
    """

    def __init__(self, interval: float = LOG_INTERVAL, most: float = math.inf) -> None:
        self._interval = interval
        self._most = most
        # All mutable state.
        self._lines: deque[float] = deque()  # when lines were let through in the last interval
        # kind -> (when a line was let through, lines held back since).
        self._kinds: dict[str, tuple[float, int]] = {}

    def admit(self, kind: str, now: float) -> int | None:
        """
        Whether a line of this kind may be written now.

        The time is noted before the caller logs, so a log handler that calls us again cannot
        recurse further.

        Args:
            kind: One of a small closed set, such as a reason.
            now: Seconds of a monotonic clock.

        Returns:
            None to stay silent, otherwise the number of lines held back since the last one.
        """
        last, held_back = self._kinds.get(kind, (-math.inf, 0))
        # The first test is the one that thousands a second fail.
        if now - last < self._interval or not self._has_room(last, now):
            if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
                return None
            self._kinds[kind] = (last, held_back + 1)
            return None
        self._kinds[kind] = (now, 0)
        self._lines.append(now)
        return held_back

    def _has_room(self, last: float, now: float) -> bool:
        if now - last < self._interval * len(self._kinds) / self._most:
            return False  # else the most frequent kinds would take every place
        while self._lines and now - self._lines[0] >= self._interval:
            self._lines.popleft()
        return len(self._lines) < self._most
