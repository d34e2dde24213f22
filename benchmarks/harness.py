"""
What the measurements share: figures, and ways to compare that a noisy machine does not spoil.

Always holds: a figure is a ratio of things measured in one run, or a count; what is compared takes
turns, so that a slow moment of the machine hits both; of several repeats the median counts.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Figure", "cpu_seconds", "in_turns", "ratios", "table"]


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


def table(figures: Sequence[Figure]) -> str:
    """
    Figures as lines for a terminal.
    """
    rows = [("figure", "value", "goal", "", "detail")]
    for one in figures:
        goal = "" if one.goal is None else f"{'<=' if one.at_most else '>='} {one.goal:g}"
        met = {None: "", True: "met", False: "MISSED"}[one.met]
        value = (
            f"{one.value:.3g} {one.unit}"
            if abs(one.value) < 1e3
            else f"{one.value:,.0f} {one.unit}"
        )
        rows.append((one.name, value, goal, met, f"{one.against} {one.detail}".strip()))
    widths = [max(len(row[at]) for row in rows) for at in range(4)]
    return "\n".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]))
        for row in rows
    )
