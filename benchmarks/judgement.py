"""
What is made of figures: goals, a baseline, and noise that excuses. No clock and no files here.

Always holds: a short run fails only by wide margins and never by an absolute time; what a noisy
machine measured is said and fails nothing, unless even the best of the repeats is out of bounds on
a machine that was quiet otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from benchmarks.harness import Figure, spread

__all__ = [
    "NOISE",
    "WIDE",
    "Baseline",
    "Judged",
    "Mark",
    "judge",
    "judge_all",
    "noise_of",
    "renewed",
]

WIDE = 1.6
"""By what factor a ratio may be worse than its baseline, and in a short run than its goal."""

NOISE = 2.0
"""How far repeats of one thing may lie apart (the largest by the smallest) before it is noise."""

TIMES = frozenset({"s", "ms", "us", "µs", "ns"})

Baseline = Mapping[str, float]
"""Ratios of one version of Python, by the figures' names."""


class Mark(Enum):
    """
    What is said of a figure.
    """

    PLAIN = ""
    MET = "met"
    MISSED = "missed"  # by less than the margin, or an absolute time in a short run: fails nothing
    NOISY = "noisy"
    FAILED = "FAILED"
    WORSE = "WORSE"  # than the baseline


@dataclass(frozen=True, slots=True)
class Judged:
    """
    A figure and what is said of it.

    Attributes:
        figure: What was measured.
        mark: In a word.
        why: In a sentence; empty if the word says it.
    """

    figure: Figure
    mark: Mark
    why: str = ""

    @property
    def fails(self) -> bool:
        """
        Whether the run fails by it.
        """
        return self.mark in (Mark.FAILED, Mark.WORSE)


def noise_of(calibration: Sequence[float]) -> float:
    """
    How noisy the machine was: how far the repeats of one loop lie apart, but for the tenth at
    either end, because single interruptions are everywhere and medians bear them.

    Args:
        calibration: The repeats, in any order.
    """
    cut = len(calibration) // 10
    return spread(sorted(calibration)[cut : len(calibration) - cut])


def judge(
    figure: Figure, *, quick: bool, noise: float = 1.0, baseline: float | None = None
) -> Judged:
    """
    One figure against its goal and its baseline.

    Args:
        figure: What was measured.
        quick: Whether it comes from a short run: it fails if a goal (or a baseline that misses it,
            too) is missed by more than the margin, and an absolute time never fails.
        noise: Of the machine while it was measured, by `noise_of`.
        baseline: What it was before; None if nobody knows. Only ratios are compared.
    """
    found = _against_goal(figure, baseline, quick=quick) or _against_baseline(figure, baseline)
    if found is None:
        return Judged(figure, Mark.PLAIN if figure.met is None else Mark.MET)
    mark, limit, why = found
    if mark is Mark.MISSED:
        return Judged(figure, mark, why)
    if noise > NOISE:
        return Judged(
            figure, Mark.NOISY, f"{why}; equal loops differed by {noise:.1f} times on this machine"
        )
    apart = spread(figure.samples)
    if apart > NOISE and not _is_beyond(figure, _best(figure), limit):
        return Judged(figure, Mark.NOISY, f"{why}; its repeats differ by {apart:.1f} times")
    return Judged(figure, mark, why)


def judge_all(
    figures: Iterable[Figure], *, quick: bool, noise: float, baseline: Baseline
) -> list[Judged]:
    """
    Each figure, as `judge` does it, with the baseline of its name.
    """
    return [
        judge(one, quick=quick, noise=noise, baseline=baseline.get(one.name)) for one in figures
    ]


def renewed(
    baseline: Baseline, measured: Mapping[str, Sequence[Figure]], *, noise: Mapping[str, float]
) -> dict[str, float]:
    """
    A baseline with what was measured in place of what it had of the same modules.

    Args:
        baseline: What it was.
        measured: The figures of each module, by the module's name.
        noise: Of the machine, by the module's name; what was measured amid noise stays as it was.
    """
    kept = {name: rest for name, rest in measured.items() if noise.get(name, 1.0) <= NOISE}
    new = {name: ratio for name, ratio in baseline.items() if name.partition(".")[0] not in kept}
    for figures in kept.values():
        new |= {one.name: round(one.value, 4) for one in figures if one.unit == "x"}
    return dict(sorted(new.items()))


def _against_goal(
    figure: Figure, baseline: float | None, *, quick: bool
) -> tuple[Mark, float, str] | None:
    if figure.goal is None or figure.met:
        return None
    limit = figure.goal
    if quick:
        # What is known to miss its goal has to stay as it is, until somebody makes it better.
        known = baseline is not None and figure.unit == "x" and _is_beyond(figure, baseline, limit)
        limit = _widened(figure, baseline if known and baseline is not None else limit)
    if not _is_beyond(figure, figure.value, limit):
        return Mark.MISSED, limit, "by less than the margin of a short run"
    if quick and (figure.unit in TIMES or figure.unit.endswith("/s")):
        return Mark.MISSED, limit, "a short run fails by no absolute time"
    return Mark.FAILED, limit, f"the limit is {limit:.3g}"


def _against_baseline(figure: Figure, baseline: float | None) -> tuple[Mark, float, str] | None:
    if baseline is None or baseline <= 0 or figure.unit != "x":
        return None
    limit = _widened(figure, baseline)
    if not _is_beyond(figure, figure.value, limit):
        return None
    return Mark.WORSE, limit, f"it was {baseline:.3g}, the limit is {limit:.3g}"


def _widened(figure: Figure, limit: float) -> float:
    return limit * WIDE if figure.at_most else limit / WIDE


def _is_beyond(figure: Figure, value: float, limit: float) -> bool:
    return value > limit if figure.at_most else value < limit


def _best(figure: Figure) -> float:
    return min(figure.samples) if figure.at_most else max(figure.samples)
