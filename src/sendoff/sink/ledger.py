"""
What one vendor of the sink has seen: plain counts, no clock and no I/O.

Every request counts on arrival, so that the fullest second tells what reached the vendor and not
what it liked. Ids are kept for all accepted events, bodies for the last few only.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from sendoff.sink.stats import VendorStats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sendoff.sink.checks import Event
    from sendoff.sink.contract import Verdict

# Twenty seconds at the vendors' limit of 5,000 a second; further ones push the first ones out.
_ARRIVALS_KEPT = 100_000

# Ten minutes are what a page can draw; a longer run needs the total counts only.
_SECONDS_KEPT = 600


class Ledger:
    """
    The counts of one vendor.

    Args:
        keep_events: how many of the last accepted events keep their body.
    """

    def __init__(self, *, keep_events: int) -> None:
        # All mutable state. `ids` holds accepted ids in order, repeats included, `_seen` each once;
        # `_window` holds the arrivals less than a second before the last one, `_seconds` counts
        # them by whole second as [second, requests].
        self.ids: list[str] = []
        self.bodies: deque[Event] = deque(maxlen=keep_events)
        self.arrivals: deque[float] = deque(maxlen=_ARRIVALS_KEPT)
        self.requests: int = 0
        self._seen: set[str] = set()
        self._window: deque[float] = deque()
        self._seconds: deque[list[int]] = deque(maxlen=_SECONDS_KEPT)
        self._statuses: Counter[int] = Counter()
        self._faults: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self.accepted: int = 0
        self._malformed = self._events = self._without_id = 0
        self._batches = self._largest_batch = self._arrays_of_one = 0
        self._largest_body = self._fullest_second = 0
        self._first_at: float | None = None
        self._last_at: float | None = None

    def arrived(self, now: float) -> None:
        """
        Count a request.

        Args:
            now: when it arrived; one that seems older than the last counts as arriving with it.
        """
        if self._last_at is None:
            self._first_at = self._last_at = now
        self._last_at = now = max(now, self._last_at)
        self.requests += 1
        self.arrivals.append(now)
        self._window.append(now)
        # Any window can be moved to end with a request and holds no fewer then; those are enough.
        while now - self._window[0] >= 1:
            self._window.popleft()
        self._fullest_second = max(self._fullest_second, len(self._window))
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += 1
        else:
            self._seconds.append([second, 1])

    def received(self, size: int) -> None:
        """
        Note how large a body was.

        Args:
            size: bytes as sent.
        """
        self._largest_body = max(self._largest_body, size)

    def place_of(self, ids: Iterable[str | None]) -> tuple[int, frozenset[int]]:
        """
        Where events that are about to be processed will stand, for whoever looks on.

        Args:
            ids: the id of each of them.

        Returns:
            The place of the first among all accepted events, and which of them repeat an id.
        """
        met: set[str] = set()
        repeats = set()
        for index, event_id in enumerate(ids):
            if event_id is None:
                continue
            if event_id in self._seen or event_id in met:
                repeats.add(index)
            met.add(event_id)
        return self.accepted, frozenset(repeats)

    def processed(self, verdict: Verdict) -> None:
        """
        Count what was made of a request, whether or not its sender will ever know.

        Args:
            verdict: what the contract says.
        """
        self._events += verdict.count
        if verdict.reason is not None:
            self._refused[verdict.reason] += 1
            self._malformed += verdict.malformed
            return
        self._batches += 1
        self.accepted += verdict.count
        self._largest_batch = max(self._largest_batch, verdict.count)
        self._arrays_of_one += verdict.array_of_one
        self.bodies.extend(verdict.events)
        found = [event_id for event_id in verdict.ids if event_id is not None]
        self._without_id += len(verdict.ids) - len(found)
        self.ids += found
        self._seen.update(found)

    def answered(self, status: int) -> None:
        """
        Count an answer.

        Args:
            status: its HTTP status.
        """
        self._statuses[status] += 1

    def faulted(self, kind: str) -> None:
        """
        Count a request that met a scripted fault.

        Args:
            kind: which kind of fault.
        """
        self._faults[kind] += 1

    def bodies_after(self, cursor: int) -> dict[str, Any]:
        """
        The accepted events that came after a cursor, the cursor behind them, and how many of them
        are gone already.

        Args:
            cursor: What the last call gave; 0 for the beginning. One beyond the end is from before
                a reset, and stands for the beginning as well.
        """
        first = self.accepted - len(self.bodies)
        cursor = max(0, cursor) if cursor <= self.accepted else 0
        found = list(islice(self.bodies, max(0, cursor - first), None))
        return {"next": self.accepted, "missed": max(0, first - cursor), "events": found}

    def snapshot(self) -> VendorStats:
        """
        The counts as they stand.
        """
        return VendorStats(
            requests=self.requests,
            statuses=dict(self._statuses),
            faults=dict(self._faults),
            refused=dict(self._refused),
            malformed=self._malformed,
            events=self._events,
            accepted=self.accepted,
            unique=len(self._seen),
            duplicates=len(self.ids) - len(self._seen),
            without_id=self._without_id,
            batches=self._batches,
            largest_batch=self._largest_batch,
            mean_batch=self.accepted / self._batches if self._batches else 0.0,
            arrays_of_one=self._arrays_of_one,
            largest_body=self._largest_body,
            fullest_second=self._fullest_second,
            first_at=self._first_at,
            last_at=self._last_at,
            seconds=tuple((second, count) for second, count in self._seconds),
        )
