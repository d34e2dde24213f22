"""
When to try again: full jitter under an exponential ceiling, never before the server's wish, bounded
in count and time.

Plain: takes `now`; the jitter comes in as a callable. Of `backoff` only its generator of ceilings
and its jitter are used.
"""

from __future__ import annotations

from collections.abc import Callable

import backoff

from sendoff.events import DropReason
from sendoff.options import Retry

__all__ = ["Backoff", "floor_of"]

HOLD_FIRST = 1.0
"""
Seconds of the first pause of a held lane, as its ceiling: a key that was wrong for a moment costs a
moment. Further ones double, up to `Retry.hold_interval`.
"""

LATENESS = 0.1
"""
How much later than a server's wish a lane comes back at most, as a share of it: clients that were
told the same are not to come back at once.
"""

Jitter = Callable[[float], float]
"""From a ceiling in seconds to a wait between 0 and it."""


class Backoff:
    """
    The waits of one batch, or of one breaker.

    Args:
        retry: The bounds.
        jitter: Draws a wait below a ceiling.
    """

    def __init__(self, retry: Retry, jitter: Jitter = backoff.full_jitter) -> None:
        self._retry = retry
        self._jitter = jitter
        # All mutable state.
        self._failures = 0
        self._late = 0.0  # between 0 and `LATENESS`
        self._ceilings = backoff.expo(base=2, factor=retry.base, max_value=retry.cap)
        self._holds = backoff.expo(base=2, factor=HOLD_FIRST, max_value=retry.hold_interval)
        # The first value is None, by `backoff`'s protocol.
        next(self._ceilings)
        next(self._holds)

    def pause(self) -> float:
        """
        The next wait, in seconds.
        """
        return self._jitter(next(self._ceilings))

    def hold(self) -> float:
        """
        The next wait before a slow probe, in seconds: between half of a ceiling and all of it. The
        ceiling doubles, up to `Retry.hold_interval`.
        """
        half = next(self._holds) / 2
        return half + self._jitter(half)

    def spread(self) -> None:
        """
        Draws anew how late `beyond` is; to be called once for each pause, as the latest of a
        hundred draws would be the same for everybody.
        """
        self._late = self._jitter(LATENESS)

    def beyond(self, floor: float) -> float:
        """
        A server's wish and a little more, in seconds.
        """
        return floor * (1.0 + self._late)

    def next_wait(
        self, started: float, now: float, *, retry_after: float | None = None, at_once: bool = False
    ) -> float | DropReason:
        """
        How long to wait after a failure, or why there is no further try.

        The bounds are tested before any sleep: a wait that would end beyond the last moment is not
        begun.

        Args:
            started: When the first try began.
            now: When the last one failed, by the same clock.
            retry_after: Seconds that the server asks to wait.
            at_once: Whether the first retry needs no wait.
        """
        self._failures += 1
        if self._failures >= self._retry.attempts:
            return DropReason.ATTEMPTS
        wait = 0.0 if at_once and self._failures == 1 else self.pause()
        wait = max(wait, floor_of(self._retry, retry_after))
        if now + wait - started > self._retry.max_elapsed:
            return DropReason.EXPIRED
        return wait


def floor_of(retry: Retry, retry_after: float | None) -> float:
    """
    The server's wish, cut to what we grant.
    """
    return 0.0 if retry_after is None else min(retry_after, retry.max_retry_after)
