"""
The figures of several processes that are scraped as one: `prometheus_client`'s multiprocess mode.

Each process writes its own figures through `prometheus_client`'s counters and gauges, which keep
them in files. Always holds: a counter never goes backwards, whoever dies, for its file stays; one
thread writes for all dispatchers, and no fork happens while it does; after a fork the child's own
figures begin at 0, as its dispatchers do.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import Counter, Gauge

from sendoff.endings import after_last_flush
from sendoff.metrics.metric import Kind, Metric, points_of
from sendoff.metrics.names import METRICS

if TYPE_CHECKING:
    from sendoff.dispatcher import Dispatcher

__all__ = ["SharedFigures", "shared"]

FORK_SECONDS = 5.0
"""Seconds that a fork waits, at most, for a look that is under way; one takes about 1 ms."""

MODES: Final[dict[str, Any]] = {"sum": "livesum", "min": "livemin", "max": "livemax"}


class SharedFigures:
    """
    What one process writes for all its dispatchers.
    """

    def __init__(self) -> None:
        # All mutable state, changed under the lock.
        self._lock = threading.RLock()
        self._dispatchers: dict[str, weakref.ref[Dispatcher]] = {}
        self._instruments: dict[str, Counter | Gauge] = {}
        self._written: dict[tuple[str, tuple[str, ...]], float] = {}  # by metric and labels
        self._interval = 0.0
        self._stop = threading.Event()
        self._arranged = False
        self._held_by_fork = False

    def add(self, name: str, dispatcher: Dispatcher, interval: float) -> None:
        """
        Writes a dispatcher's figures from now on.

        Args:
            name: The value of its label ``dispatcher``.
            dispatcher: Which.
            interval: Seconds between two looks; the shortest of all holds.
        """
        with self._lock:
            earlier = self._dispatchers.get(name)
            if earlier is not None and earlier() is not dispatcher:
                self._forget(name)
            self._dispatchers[name] = weakref.ref(dispatcher)
            self._interval = min(interval, self._interval or interval)
            if not self._arranged:
                self._arranged = True
                after_last_flush(self.write)
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(
                        before=self._before_fork,
                        after_in_parent=self._after_fork,
                        after_in_child=self._in_child,
                    )
            self._start()
        self.write()

    def remove(self, name: str, dispatcher: Dispatcher | None) -> None:
        """
        Writes a dispatcher's figures no longer; its counters stay.
        """
        self.write()
        with self._lock:
            known = self._dispatchers.get(name)
            if known is not None and known() in (dispatcher, None):
                del self._dispatchers[name]
                self._forget(name)
            if not self._dispatchers:
                self._stop.set()

    def write(self) -> None:
        """
        Brings the files to what `stats()` says now.
        """
        with self._lock:
            for name, ref in list(self._dispatchers.items()):
                dispatcher = ref()
                if dispatcher is None:
                    del self._dispatchers[name]
                    self._forget(name)
                    continue
                stats = dispatcher.stats()
                for metric in METRICS:
                    seen = dict(points_of(metric, name, stats))
                    for labels, figure in seen.items():
                        self._note(metric, labels, figure)
                    self._clear_others(metric, name, seen)

    def _note(self, metric: Metric, labels: tuple[str, ...], figure: float) -> None:
        key = metric.name, labels
        before = self._written.get(key)
        if before == figure:
            return
        self._written[key] = figure
        instrument = self._instrument(metric).labels(*labels)
        if isinstance(instrument, Gauge):
            instrument.set(figure)
        else:
            # Upwards alone: what another dispatcher of this name had counted stays counted.
            instrument.inc(max(0.0, figure - (before or 0.0)))

    def _clear_others(
        self, metric: Metric, name: str, seen: dict[tuple[str, ...], float] | None = None
    ) -> None:
        """
        Has a dispatcher's gauges say 0 that have no figure now.
        """
        if metric.kind is not Kind.COUNTER:
            for written, labels in list(self._written):
                if written == metric.name and labels[0] == name and labels not in (seen or {}):
                    self._note(metric, labels, 0.0)

    def _forget(self, name: str) -> None:
        for metric in METRICS:
            self._clear_others(metric, name)
        self._written = {key: figure for key, figure in self._written.items() if key[1][0] != name}

    def _instrument(self, metric: Metric) -> Counter | Gauge:
        found = self._instruments.get(metric.name)
        if found is None:
            # In no registry: the collector of the files shows them.
            about = (metric.name, metric.meaning, metric.all_labels)
            found = (
                Counter(*about, registry=None)
                if metric.kind is Kind.COUNTER
                else Gauge(*about, registry=None, multiprocess_mode=MODES[metric.merged])
            )
            self._instruments[metric.name] = found
        return found

    # --- the thread, and forks --------------------------------------------------------------------

    def _start(self) -> None:
        self._stop.set()  # of the one before
        stop = self._stop = threading.Event()

        def look() -> None:
            while not stop.wait(self._interval):
                with suppress(Exception):  # a disk that is full now may have room later
                    self.write()

        threading.Thread(target=look, name="sendoff metrics", daemon=True).start()

    def _before_fork(self) -> None:
        # The lock also keeps this thread out of `prometheus_client`'s, which a child would find
        # locked for ever.
        self._held_by_fork = self._lock.acquire(timeout=FORK_SECONDS)

    def _after_fork(self) -> None:
        if self._held_by_fork:
            self._lock.release()

    def _in_child(self) -> None:
        self._lock = threading.RLock()
        self._written.clear()
        if self._dispatchers:
            self._start()


shared: Final = SharedFigures()
"""
The one of this process: the files are the process's, too.
"""
