"""
What the demo shows while it runs: one reading for each destination and moment.

Plain: takes `now` and the public ledger, knows no clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sendoff import DestinationStats

__all__ = ["Meter", "Reading"]

PHASES = {"closed": "sending", "open": "waiting", "half_open": "probing"}


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One destination at one moment.

    Attributes:
        name: The destination's.
        total: Events that the whole run will give it.
        enqueued: Events given to it so far.
        delivered: Of those, the ones that its vendor has.
        retried: Requests that carried events which had been tried before.
        rate: Requests in the last second.
        phase: What it does: sending, waiting (out a fault), probing (whether it has passed), done.
    """

    name: str
    total: int
    enqueued: int
    delivered: int
    retried: int
    rate: int
    phase: str


class Meter:
    """
    Turns a destination's ledger into readings.

    Args:
        name: The destination's.
        total: Events that the whole run will give it.
        now: When nothing had been requested yet, in seconds of a monotonic clock.
    """

    def __init__(self, name: str, total: int, now: float) -> None:
        self._name = name
        self._total = total
        # All mutable state: moments with the requests made until then; the first is the last one
        # that is at least a second old, or the beginning.
        self._past = deque([(now, 0)])

    def read(self, ledger: DestinationStats, now: float) -> Reading:
        """
        The reading of a moment.

        Args:
            ledger: The destination's.
            now: Seconds of the same clock.
        """
        past = self._past
        past.append((now, ledger.requests))
        while past[1][0] <= now - 1:
            past.popleft()
        # A late look sees more than a second; what is shown as a rate must not.
        seconds = max(1.0, now - past[0][0])
        return Reading(
            name=self._name,
            total=self._total,
            enqueued=ledger.submitted,
            delivered=ledger.delivered,
            retried=ledger.retries,
            rate=round((ledger.requests - past[0][1]) / seconds),
            phase="done" if ledger.delivered == self._total else PHASES[ledger.state],
        )
