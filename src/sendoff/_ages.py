"""
How long: how long a lane's requests have been held back, and how old its oldest event is at least.

Plain: takes times, knows no clock. Always holds: nothing here is done for an event; the age of the
oldest one is never overstated by more than its batch took to fill.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Downtime", "Marks"]

MOST_MARKS = 64
"""
Marks that are kept. When there are more, every second one goes: an age of hours is then exact to
minutes.
"""


class Downtime:
    """
    The seconds in which a breaker was not closed.
    """

    def __init__(self) -> None:
        # All mutable state.
        self._before = 0.0  # seconds of downtimes that are over
        self._since: float | None = None  # when this one began

    def note(self, now: float, *, down: bool) -> None:
        """
        Notes how it stands at a time.
        """
        if down:
            if self._since is None:
                self._since = now
        elif self._since is not None:
            self._before += max(0.0, now - self._since)
            self._since = None

    def resume(self, now: float) -> None:
        """
        Goes on with another clock, which may have another zero: a time from its future is now.
        """
        if self._since is not None and self._since > now:
            self._since = now

    def seconds(self, now: float) -> float:
        """
        All of it, up to a time.
        """
        return self._before + (0.0 if self._since is None else max(0.0, now - self._since))


class Marks:
    """
    When the queue was seen how long, whenever somebody asked; so events need no time of their own.
    """

    def __init__(self) -> None:
        # All mutable state: sequence numbers that were still to come, and when; both rise.
        self._marks: deque[tuple[int, float]] = deque()

    def age(self, oldest: int, tail: int, now: float) -> float:
        """
        How long the oldest pending event is known to be there, in seconds; 0 if there is none, or
        if it has come since the last question.

        Args:
            oldest: Its sequence number; `tail` if nothing is pending.
            tail: The sequence number that the next event will get.
            now: Seconds of a monotonic clock.
        """
        marks = self._marks
        while marks and (marks[0][0] <= oldest or marks[0][1] > now):
            marks.popleft()
        if tail > oldest and (not marks or marks[-1][0] < tail):
            if len(marks) >= MOST_MARKS:
                kept = list(marks)[::2]  # with the first, which is the answer
                marks.clear()
                marks.extend(kept)
            marks.append((tail, now))
        return now - marks[0][1] if marks else 0.0
