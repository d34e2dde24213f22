"""
What a metric is, and how its points are read from `Stats`.

Plain: reads `Stats` and nothing else, and only when it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from sendoff.observers import DestinationStats, Stats

__all__ = [
    "ATTRIBUTES",
    "Kind",
    "Metric",
    "Point",
    "fates",
    "fault",
    "mapping",
    "points_of",
    "simple",
    "states",
]

Point: TypeAlias = tuple[tuple[str, ...], float]
"""
The values of a metric's own labels, and the figure.
"""

ATTRIBUTES: Final = {
    "dispatcher": "sendoff.dispatcher",
    "destination": "sendoff.destination",
    "outcome": "sendoff.outcome",
    "reason": "error.type",
    "answer": "http.response.status_code, or error.type",
    "state": "sendoff.state",
    "hook": "sendoff.hook",
}
"""OpenTelemetry's attribute for each label; an empty one is left out."""


class Kind(Enum):
    """
    What a metric's figure does.
    """

    COUNTER = "counter"
    """It only rises; a new process begins at 0."""
    SUM = "up-down counter"
    """It rises and falls, and the sum over processes means something."""
    GAUGE = "gauge"
    """It rises and falls; a sum over processes would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """
    One metric.

    Attributes:
        name: Prometheus's name, without the ``_total`` of counters.
        otel: OpenTelemetry's name.
        kind: What its figure does.
        unit: In UCUM's form.
        labels: Its own labels, beside ``dispatcher`` and, mostly, ``destination``.
        meaning: One sentence.
        fields: What of `DestinationStats` it shows, or of `Stats` if it is the whole dispatcher's.
        of_all: Whether it is the whole dispatcher's.
        merged: What becomes of it over several processes that are scraped as one.
        read: Its points in a `DestinationStats`, or in a `Stats`.
    """

    name: str
    otel: str
    kind: Kind
    unit: str
    labels: tuple[str, ...] = ()
    meaning: str
    fields: tuple[str, ...]
    of_all: bool = False
    merged: Literal["sum", "min", "max"] = "sum"
    read: Callable[[Any], Iterator[Point]]

    @property
    def exposed(self) -> str:
        """
        The name as Prometheus shows it.
        """
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name

    @property
    def all_labels(self) -> tuple[str, ...]:
        """
        All labels, in the order of their values in `points_of`.
        """
        return ("dispatcher", *(() if self.of_all else ("destination",)), *self.labels)


def points_of(metric: Metric, dispatcher: str, stats: Stats) -> Iterator[Point]:
    """
    A metric's points, with the values of all its labels.

    Args:
        metric: Which.
        dispatcher: The value of the label ``dispatcher``.
        stats: What is read.
    """
    if metric.of_all:
        for values, figure in metric.read(stats):
            yield (dispatcher, *values), figure
        return
    for name, one in stats.destinations.items():
        for values, figure in metric.read(one):
            yield (dispatcher, name, *values), figure


def _field(name: str) -> Callable[[Any], Iterator[Point]]:
    def read(stats: Any) -> Iterator[Point]:
        figure = getattr(stats, name)
        if figure is not None:
            yield (), float(figure)

    return read


def mapping(name: str) -> Callable[[Any], Iterator[Point]]:
    """
    Reads a field with a count for each key.
    """

    def read(stats: Any) -> Iterator[Point]:
        counts: Mapping[str, int] = getattr(stats, name)
        for key, count in counts.items():
            yield (key,), float(count)

    return read


def states(*states: str) -> Callable[[Any], Iterator[Point]]:
    """
    Reads the state: 1 for the one that is, 0 for the others.
    """

    def read(stats: Any) -> Iterator[Point]:
        for state in states:
            yield (state,), float(stats.state == state)

    return read


def fates(stats: DestinationStats) -> Iterator[Point]:
    """
    Reads all fates, each with its reason.
    """
    yield ("delivered", ""), float(stats.delivered)
    yield ("dead_lettered", ""), float(stats.dead_lettered)
    for outcome, reasons in (("rejected", stats.rejections), ("dropped", stats.dropped)):
        for reason, count in reasons.items():
            yield (outcome, reason), float(count)


def fault(stats: DestinationStats) -> Iterator[Point]:
    """
    Reads the reason of the last failure, if there is one.
    """
    if stats.fault:
        yield (stats.fault,), 1.0


def simple(
    name: str, otel: str, kind: Kind, unit: str, field: str, meaning: str, **more: Any
) -> Metric:
    """
    A metric that shows one number of `Stats`; None is no point.
    """
    return Metric(
        name=name,
        otel=otel,
        kind=kind,
        unit=unit,
        fields=(field,),
        meaning=meaning,
        read=_field(field),
        **more,
    )
