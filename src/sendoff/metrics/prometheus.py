"""
A dispatcher's figures for Prometheus, through `prometheus_client` (the extra ``prometheus``).

Always holds: nothing is done for an event; `stats()` is read when somebody scrapes or, where
`prometheus_client` runs in its multiprocess mode, every few seconds. A dispatcher that is gone
shows no figures; none is kept alive here. No port is opened and no environment is set.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from sendoff.metrics.metric import Kind, Metric, points_of
from sendoff.metrics.names import METRICS
from sendoff.option_checks import check_number, check_text

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

    from sendoff.dispatcher import Dispatcher
    from sendoff.metrics.shared import SharedFigures

__all__ = ["Registration", "SendoffCollector", "register"]

INTERVAL = 5.0
"""Seconds between two looks in the multiprocess mode: a third of Prometheus's usual interval."""


class SendoffCollector(Collector):
    """
    Reads its dispatchers' `stats()` at every scrape. `register` makes one for each registry.
    """

    def __init__(self) -> None:
        # All mutable state, changed under the lock.
        self._lock = threading.Lock()
        self._dispatchers: dict[str, weakref.ref[Dispatcher]] = {}

    def add(self, name: str, dispatcher: Dispatcher) -> None:
        """
        Shows a dispatcher from now on, in the place of another one of this name.

        Args:
            name: The value of its label ``dispatcher``.
            dispatcher: Which.
        """
        with self._lock:
            self._dispatchers[name] = weakref.ref(dispatcher)

    def remove(self, name: str, dispatcher: Dispatcher | None) -> None:
        """
        Shows a dispatcher no longer; does nothing if another one has taken its name.
        """
        with self._lock:
            known = self._dispatchers.get(name)
            if known is not None and known() in (dispatcher, None):
                del self._dispatchers[name]

    def describe(self) -> Iterator[Family]:
        """
        The metrics without figures, so that to register costs no look at `stats()`.
        """
        return map(_family, METRICS)

    def collect(self) -> Iterator[Family]:
        """
        The metrics, with the figures of one snapshot for each dispatcher.
        """
        with self._lock:
            known = [(name, found) for name, ref in self._dispatchers.items() if (found := ref())]
        seen = [(name, dispatcher.stats()) for name, dispatcher in known]
        for metric in METRICS:
            family = _family(metric)
            for name, stats in seen:
                for labels, figure in points_of(metric, name, stats):
                    family.add_metric(labels, figure)
            yield family


class Registration:
    """
    What `register` returns.

    Args:
        collector: Where the dispatcher is shown.
        name: The value of its label ``dispatcher``.
        dispatcher: Which.
    """

    def __init__(
        self, collector: SendoffCollector | SharedFigures, name: str, dispatcher: Dispatcher
    ) -> None:
        self._collector = collector
        self._name = name
        self._dispatcher = weakref.ref(dispatcher)

    def unregister(self) -> None:
        """
        Takes the dispatcher's figures away. Does nothing the second time.
        """
        self._collector.remove(self._name, self._dispatcher())


_collectors: weakref.WeakKeyDictionary[CollectorRegistry, SendoffCollector] = (
    weakref.WeakKeyDictionary()
)
"""The one of each registry: the metrics of all dispatchers there must stand together."""


def register(
    dispatcher: Dispatcher,
    registry: CollectorRegistry = REGISTRY,
    *,
    name: str = "default",
    interval: float = INTERVAL,
) -> Registration:
    """
    Shows a dispatcher's figures to Prometheus.

    Where `prometheus_client` runs in its multiprocess mode (``PROMETHEUS_MULTIPROC_DIR`` is set, as
    for several workers of gunicorn), figures of all processes are added up from files, and
    `registry` is not used: a thread writes this process's there every `interval` seconds, and once
    more when the process ends, after its last flush.

    Args:
        dispatcher: Kept by a weak reference.
        registry: Where; by default the one that `prometheus_client` exposes.
        name: The value of the label ``dispatcher``, for a process with several of them. One of the
            same name takes the place of the earlier one.
        interval: Seconds between two looks in the multiprocess mode; at least 0.1.

    Returns:
        By which it can be taken away again.

    Raises:
        OptionError: An option is wrong; the message names it and its limit.
    """
    check_text("name", name)
    check_number("interval", interval, least=0.1, most=3_600)
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from sendoff.metrics.shared import shared

        shared.add(name, dispatcher, interval)
        return Registration(shared, name, dispatcher)
    collector = _collectors.get(registry)
    if collector is None:
        collector = SendoffCollector()
        registry.register(collector)
        _collectors[registry] = collector
    collector.add(name, dispatcher)
    return Registration(collector, name, dispatcher)


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    return kind(metric.name, metric.meaning, labels=metric.all_labels)
