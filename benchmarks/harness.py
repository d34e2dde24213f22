"""
What the measurements share: figures, and ways to compare that a noisy machine does not spoil.

Always holds: a figure is a ratio of things measured in one run, or a count; what is compared takes
turns, so that a slow moment of the machine hits both; of several repeats the median counts.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

__all__ = [
    "Figure",
    "Measure",
    "amount",
    "calibration",
    "command",
    "cpu_seconds",
    "in_turns",
    "quiet",
    "ratios",
    "spread",
    "table",
]

CALIBRATION_TURNS = 20
CALIBRATION_STEPS = 50_000  # some milliseconds of plain Python


class Measure(Protocol):
    """
    What every module of measurements has.
    """

    def __call__(self, *, quick: bool) -> list[Figure]:
        """
        Measures; `quick` with fewer repeats and smaller loads.
        """
        ...


@dataclass(frozen=True)
class Figure:
    """
    One measured figure.

    Attributes:
        name: Dotted, stable: ``enqueue.datadog``. What a baseline is compared by.
        value: The median of `samples`, or the figure itself.
        unit: ``x`` for a ratio, else what is counted: ``ms``, ``MB``, ``req/s``.
        against: What a ratio is measured against.
        goal: What it should keep to; None if there is no goal.
        at_most: Whether the goal is a highest value; otherwise a lowest one.
        samples: The repeats' own values.
        detail: The raw figures behind it, for the reader.
    """

    name: str
    value: float
    unit: str = "x"
    against: str = ""
    goal: float | None = None
    at_most: bool = True
    samples: tuple[float, ...] = ()
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """
        Whether it keeps to its goal; None without one.
        """
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def as_json(self) -> dict[str, Any]:
        """
        All of it, with plain values.
        """
        return {**asdict(self), "met": self.met}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """
        What `as_json` made.
        """
        own = {name: value for name, value in values.items() if name != "met"}
        return cls(**{**own, "samples": tuple(own["samples"])})

    @classmethod
    def median(cls, name: str, samples: Sequence[float], **rest: Any) -> Figure:
        """
        A figure from its repeats.
        """
        return cls(name, statistics.median(samples), samples=tuple(samples), **rest)


def in_turns(
    runs: Mapping[str, Callable[[], float]], repeats: int = 5, *, seed: int = 0
) -> dict[str, list[float]]:
    """
    Runs things in turns, in another order each time, without the garbage collector in between.

    Args:
        runs: By name, what returns one measured value (such as seconds for one event).
        repeats: How often each runs.
        seed: Of the orders.

    Returns:
        For each name its values, in the order of the repeats: those of equal index belong together.
    """
    order = random.Random(seed)
    values: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        names = list(runs)
        order.shuffle(names)
        for name in names:
            gc.collect()
            values[name].append(runs[name]())
    return values


def ratios(values: Mapping[str, Sequence[float]], of: str, to: str) -> list[float]:
    """
    What one costs in terms of another, for each repeat.
    """
    return [one / other for one, other in zip(values[of], values[to], strict=True)]


def cpu_seconds(run: Callable[[], object]) -> float:
    """
    Processor seconds of this process, all threads, for one run.
    """
    begun = time.process_time()
    run()
    return time.process_time() - begun


def spread(values: Sequence[float]) -> float:
    """
    How far repeats of one thing lie apart: the largest by the smallest; 1 for fewer than two, or
    where one of them is not above 0.
    """
    return max(values) / min(values) if len(values) > 1 and min(values) > 0 else 1.0


def calibration() -> list[float]:
    """
    Seconds that one and the same loop takes, again and again; sorted.

    Apart from the machine's noise they are equal.
    """
    taken = []
    for _ in range(CALIBRATION_TURNS):
        begun = time.perf_counter()
        for _ in range(CALIBRATION_STEPS):
            pass
        taken.append(time.perf_counter() - begun)
    return sorted(taken)


def table(figures: Sequence[Figure], marks: Sequence[str] | None = None) -> str:
    """
    Figures as lines for a terminal.

    Args:
        figures: One for each line.
        marks: What is said of each; by default whether it meets its goal.
    """
    if marks is None:
        marks = [{None: "", True: "met", False: "MISSED"}[one.met] for one in figures]
    rows = [("figure", "value", "goal", "", "detail")]
    for one, mark in zip(figures, marks, strict=True):
        goal = "" if one.goal is None else f"{'<=' if one.at_most else '>='} {one.goal:g}"
        against = f"times {one.against}" if one.unit == "x" and one.against else one.against
        detail = "; ".join(part for part in (against, one.detail) if part)
        rows.append((one.name, amount(one), goal, mark, detail))
    widths = [max(len(row[at]) for row in rows) for at in range(4)]
    return "\n".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]))
        for row in rows
    )


def quiet() -> None:
    """
    Has the library's log lines go nowhere, instead of to stderr; they are written all the same.
    """
    logging.getLogger("sendoff").addHandler(logging.NullHandler())


def amount(figure: Figure) -> str:
    """
    A figure's value with its unit.
    """
    value = figure.value
    return f"{value:.3g} {figure.unit}" if abs(value) < 1e3 else f"{value:,.0f} {figure.unit}"


def command(measure: Measure, about: str) -> int:
    """
    A module's own command line: measures, prints; the exit status.
    """
    parser = argparse.ArgumentParser(description=about.strip().partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats, smaller loads")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    figures = measure(quick=options.quick)
    if options.json:
        json.dump([one.as_json() for one in figures], sys.stdout, indent=1)
        print()
    else:
        print(table(figures))
    return 0
