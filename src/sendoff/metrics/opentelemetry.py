"""
A dispatcher's figures for OpenTelemetry, as observable instruments (the extra ``otel``: its API
alone).

Always holds: nothing is done for an event; `stats()` is read once whenever a reader collects. A
dispatcher that is gone shows no figures; none is kept alive here.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

from sendoff.metrics.metric import ATTRIBUTES, Kind, Metric, points_of
from sendoff.metrics.names import METRICS
from sendoff.option_checks import check_text

if TYPE_CHECKING:
    from sendoff.dispatcher import Dispatcher
    from sendoff.observers import Stats

__all__ = ["SCOPE", "Registration", "register"]

SCOPE: Final = "sendoff"
"""The name of the meter."""


class _Instruments:
    """
    One meter's instruments, and whose figures they show.

    Args:
        meter: Makes them; none can be taken back, so there is one set for all dispatchers.
    """

    def __init__(self, meter: Meter) -> None:
        # All mutable state, changed under the lock.
        self._lock = threading.Lock()
        self._dispatchers: dict[str, weakref.ref[Dispatcher]] = {}
        self._seen: list[tuple[str, Stats]] = []  # the snapshots of this collection
        self._shown: set[str] = set()  # metrics that have shown them
        for metric in METRICS:
            make = {
                Kind.COUNTER: meter.create_observable_counter,
                Kind.SUM: meter.create_observable_up_down_counter,
                Kind.GAUGE: meter.create_observable_gauge,
            }[metric.kind]
            make(
                metric.otel,
                callbacks=[self._callback(metric)],
                unit=metric.unit,
                description=metric.meaning,
            )

    def add(self, name: str, dispatcher: Dispatcher) -> None:
        """
        Shows a dispatcher from now on, in the place of another one of this name.
        """
        with self._lock:
            self._dispatchers[name] = weakref.ref(dispatcher)
            self._shown.clear()
            self._seen.clear()

    def remove(self, name: str, dispatcher: Dispatcher | None) -> None:
        """
        Shows a dispatcher no longer; does nothing if another one has taken its name.
        """
        with self._lock:
            known = self._dispatchers.get(name)
            if known is not None and known() in (dispatcher, None):
                del self._dispatchers[name]
                self._seen.clear()

    def _callback(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(figure, _attributes(metric, labels))
                for name, stats in self._snapshots(metric.otel)
                for labels, figure in points_of(metric, name, stats)
            ]

        return observe

    def _snapshots(self, instrument: str) -> list[tuple[str, Stats]]:
        """
        What is shown in this collection: the next one has begun when an instrument asks again.
        """
        with self._lock:
            if instrument in self._shown or not self._seen:
                self._shown.clear()
                self._seen = [
                    (name, found.stats())
                    for name, ref in self._dispatchers.items()
                    if (found := ref()) is not None
                ]
            self._shown.add(instrument)
            return list(self._seen)


class Registration:
    """
    What `register` returns.

    Args:
        instruments: Where the dispatcher is shown.
        name: The value of its attribute ``sendoff.dispatcher``.
        dispatcher: Which.
    """

    def __init__(self, instruments: _Instruments, name: str, dispatcher: Dispatcher) -> None:
        self._instruments = instruments
        self._name = name
        self._dispatcher = weakref.ref(dispatcher)

    def unregister(self) -> None:
        """
        Takes the dispatcher's figures away. Does nothing the second time.
        """
        self._instruments.remove(self._name, self._dispatcher())


_instruments: weakref.WeakKeyDictionary[MeterProvider, _Instruments] = weakref.WeakKeyDictionary()
_global: list[_Instruments] = []
"""The sets made so far: one for each provider that was given, and one for the global one."""


def register(
    dispatcher: Dispatcher,
    meter_provider: MeterProvider | None = None,
    *,
    name: str = "default",
) -> Registration:
    """
    Shows a dispatcher's figures to OpenTelemetry.

    Args:
        dispatcher: Kept by a weak reference.
        meter_provider: Whose readers see it; None for the global one, which may be set later.
        name: The value of the attribute ``sendoff.dispatcher``, for a process with several of them.
            One of the same name takes the place of the earlier one.

    Returns:
        By which it can be taken away again.

    Raises:
        OptionError: The name is no non-empty text.
    """
    check_text("name", name)
    found = _instruments_of(meter_provider)
    found.add(name, dispatcher)
    return Registration(found, name, dispatcher)


def _instruments_of(provider: MeterProvider | None) -> _Instruments:
    if provider is None:
        if not _global:
            _global.append(_Instruments(metrics.get_meter(SCOPE)))
        return _global[0]
    found = _instruments.get(provider)
    if found is None:
        found = _instruments[provider] = _Instruments(provider.get_meter(SCOPE))
    return found


def _attributes(metric: Metric, labels: tuple[str, ...]) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {}
    for label, value in zip(metric.all_labels, labels, strict=True):
        if label == "answer":
            # As for HTTP clients: the status as a number, or why there is none.
            if value.isdigit():
                attributes["http.response.status_code"] = int(value)
            else:
                attributes["error.type"] = value
        elif value:
            attributes[ATTRIBUTES[label]] = value
    return attributes
