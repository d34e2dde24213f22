"""
What a lane learns of its vendor from every answer: when an outage begins, how long its pauses are,
and when it is over.

Plain but for the jitter of the pauses: takes `now`, knows no clock, waits for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from sendoff._ages import Downtime
from sendoff._breaker import Breaker, BreakerState
from sendoff._gate import Gate
from sendoff._retry import Backoff, floor_of
from sendoff.events import Action, Verdict
from sendoff.options import Retry

__all__ = ["Outage"]

PROBE_SHARE = 0.2
"""
The first pause of a breaker, as a share of `Retry.base`: one probe costs a vendor little. Later
ones last at most this and half of the outage so far: 0.7 s of it must not cost three.
"""

NEVER = math.inf

# Looked up once: an enum's member costs as much as a call.
CLOSED = BreakerState.CLOSED
DELIVERED = Action.DELIVERED
FAULTS = (Action.RETRY, Action.HOLD)
"""What a verdict asks for when the vendor, or the way to it, does not work."""


class Outage:
    """
    Tells breaker, window and those who wait what the answers mean.

    Args:
        breaker: The lane's breaker.
        gate: Where workers wait.
        retry: The bounds of the pauses.
        downtime: Told when the breaker is not closed, and when it is again.
        hopeless: Called when nothing more can be sent before the last flush ends.
    """

    def __init__(
        self,
        breaker: Breaker,
        gate: Gate,
        retry: Retry,
        downtime: Downtime,
        *,
        hopeless: Callable[[], None],
    ) -> None:
        self._breaker = breaker
        self._gate = gate
        self._retry = retry
        self._downtime = downtime
        self._hopeless = hopeless
        self._probe_base = retry.base * PROBE_SHARE
        # All mutable state.
        self.deadline = NEVER  # when the last flush ends
        self._pauses = self._new_pauses()
        self._down_since = NEVER  # when the breaker opened

    def ended(self, permit: int, verdict: Verdict | None, now: float) -> None:
        """
        Notes how an attempt ended.

        Args:
            permit: Its permit.
            verdict: What its answer, or its absence, means; None if it was cut off.
            now: Seconds of the lane's clock.
        """
        breaker = self._breaker
        probing = breaker.state is not CLOSED and breaker.is_probe(permit)
        worked = None
        if verdict is not None:
            worked = verdict.action is DELIVERED or verdict.action not in FAULTS
            # While all is well, one more success is no news.
            if not worked or breaker.failures or self.deadline != NEVER:
                self._tell(verdict, probing, now)
        if probing:
            breaker.probe_ended()
        self._gate.ended(permit, now, worked=worked)
        if probing or breaker.state is not CLOSED:
            self._gate.pump()

    def _tell(self, verdict: Verdict, probing: bool, now: float) -> None:
        breaker = self._breaker
        left = self.deadline - now
        if verdict.action is Action.HOLD:
            if breaker.failed(certain=True, probe=probing):
                self._gate.restart()
                # The last flush does not wait for somebody to mend a key.
                ending = self.deadline != NEVER
                breaker.pause(now + (self._retry.hold_interval if ending else self._pauses.hold()))
        elif verdict.action is Action.RETRY:
            floor = floor_of(self._retry, verdict.retry_after)
            if breaker.failed(certain=floor > 0.0, probe=probing):
                self._gate.restart()
                self._pauses.spread()
                self._down_since = min(self._down_since, now)
                longest = self._probe_base + (now - self._down_since) / 2
                breaker.pause(now + min(self._pauses.pause(), longest, left / 2))
            breaker.pause(now + self._pauses.beyond(floor))
        elif breaker.failures and breaker.succeeded():
            self._pauses = self._new_pauses()
            self._down_since = NEVER
            self._gate.pump()
        self._downtime.note(now, down=breaker.state is not CLOSED)
        if left < breaker.pause_left(now):
            self._hopeless()  # no probe will go before the last flush ends

    def _new_pauses(self) -> Backoff:
        # The breaker's own: one probe costs the vendor little, so it comes sooner than a retry.
        return Backoff(replace(self._retry, base=self._probe_base))
