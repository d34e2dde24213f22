"""
Charts of stored figures, as SVG that is readable on light and dark pages.

Plain text in, plain text out: the same figures always give the same file, and a test compares them.
Every chart brings its own ground and both sets of colours, because a page that shows it as an image
cannot lend it any.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.harness import Figure

__all__ = ["CHARTS", "Bar", "Chart", "draw", "drawn"]

WIDTH = 720
ROW = 26
LABELS = 190  # for the names, to the left
VALUES = 80  # for the values, to the right
HEAD, FOOT = 58, 30
OWN = "sendoff"
"""What the names of our own figures begin with."""

STYLE = """
  .ground { fill: #ffffff } text { fill: #1f2328; font: 13px system-ui, sans-serif }
  .title { font-weight: 600; font-size: 15px } .unit { fill: #59636e }
  .line { stroke: #d1d9e0 } .bar { fill: #8c959f } .own { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } text { fill: #f0f6fc } .unit { fill: #9198a1 }
    .line { stroke: #3d444d } .bar { fill: #6e7681 } .own { fill: #4493f8 }
  }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """
    One line of a chart.

    Attributes:
        label: What was measured.
        value: How much; above 0.
        own: Whether it is ours, and stands out.
    """

    label: str
    value: float
    own: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """
    What is drawn of the stored figures.

    Attributes:
        name: Of the file, without its ending.
        title: Above it.
        unit: What the values are, below the title.
        bars: The lines that there are figures for, from above.
        log: Whether equal distances are equal factors, where values are orders of magnitude apart.
    """

    name: str
    title: str
    unit: str
    bars: Callable[[Sequence[Figure]], list[Bar]]
    log: bool = False


def by_name(pattern: str) -> Callable[[Sequence[Figure]], list[Bar]]:
    """
    A line for each figure of such a name, the smallest value first.

    Args:
        pattern: Of the whole name; its group ``label`` says what the line is called.
    """

    def bars(figures: Sequence[Figure]) -> list[Bar]:
        found = []
        for figure in figures:
            match = re.fullmatch(pattern, figure.name)
            if match is not None and figure.value > 0:
                label = match["label"].replace("_", " ")
                found.append(Bar(label, figure.value, label.startswith(OWN)))
        return sorted(found, key=lambda bar: bar.value)

    return bars


def on_the_wire(figures: Sequence[Figure]) -> list[Bar]:
    """
    Ours between the bare Protocol and aiohttp, for each loop, plain and TLS.

    What is stored are the ratios of ours to either; in units of the bare one, aiohttp is their
    quotient.
    """
    values = {figure.name: figure.value for figure in figures}
    found = []
    for where in ("plain", "tls"):
        for loop in ("asyncio", "uvloop"):
            to_bare = values.get(f"wire.{where}.{loop}.bare", 0.0)
            to_aiohttp = values.get(f"wire.{where}.{loop}.aiohttp", 0.0)
            if to_bare > 0 and to_aiohttp > 0:
                found += [
                    Bar(f"{where}, {loop}: bare", 1.0, own=False),
                    Bar(f"{where}, {loop}: {OWN}", to_bare, own=True),
                    Bar(f"{where}, {loop}: aiohttp", to_bare / to_aiohttp, own=False),
                ]
    return found


CHARTS = (
    Chart(
        "calls",
        "What one call costs its caller",
        "times one orjson.dumps of the event, on a logarithmic scale; less is better",
        by_name(r"rivals\.(?P<label>.+)\.call"),
        log=True,
    ),
    Chart(
        "wire",
        "Processor time of an event sent on its own, 5,000 a second",
        "times a bare asyncio Protocol that does the same on the same loop; less is better",
        on_the_wire,
    ),
    Chart(
        "memory",
        "Memory of 100,000 queued events",
        "MB; less is better",
        by_name(r"rivals\.(?P<label>.+)\.memory"),
    ),
)


def draw(chart: Chart, bars: Sequence[Bar]) -> str:
    """
    One chart.

    Args:
        chart: What it shows.
        bars: Its lines, from above; at least one.
    """
    room = WIDTH - LABELS - VALUES
    height = HEAD + ROW * len(bars) + FOOT
    ticks = _powers(bars) if chart.log else _steps(bars)
    first, last = ticks[0], ticks[-1]

    def at(value: float) -> float:
        if chart.log:
            return room * math.log(value / first) / math.log(last / first)
        return room * value / last

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}">'
        ),
        f"<title>{escape(chart.title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="title" x="14" y="24">{escape(chart.title)}</text>',
        f'<text class="unit" x="14" y="43">{escape(chart.unit)}</text>',
    ]
    for tick in ticks:
        x = LABELS + at(tick)
        parts.append(
            f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD - 4}" y2="{height - FOOT}"/>'
            f'<text class="unit" x="{x:.1f}" y="{height - 12}" text-anchor="middle">'
            f"{shown(tick)}</text>"
        )
    for number, bar in enumerate(bars):
        y = HEAD + ROW * number
        kind = "own" if bar.own else "bar"
        length = at(bar.value)
        parts += [
            f'<text x="{LABELS - 10}" y="{y + 16}" text-anchor="end">{escape(bar.label)}</text>',
            (
                f'<rect class="{kind}" x="{LABELS}" y="{y + 4}" width="{max(length, 1.0):.1f}" '
                f'height="{ROW - 10}" rx="2"/>'
            ),
            f'<text x="{LABELS + length + 8:.1f}" y="{y + 16}">{shown(bar.value)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def drawn(figures: Sequence[Figure]) -> Mapping[str, str]:
    """
    The charts that there are figures for, by the name of their file.
    """
    found = {chart: chart.bars(figures) for chart in CHARTS}
    return {f"{chart.name}.svg": draw(chart, bars) for chart, bars in found.items() if bars}


def shown(value: float) -> str:
    """
    A value in three digits that count.
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _powers(bars: Sequence[Bar]) -> list[float]:
    # From 1 on, so that lengths do not depend on how small the smallest one happens to be.
    low = min(0, math.floor(math.log10(min(bar.value for bar in bars))))
    high = math.ceil(math.log10(max(bar.value for bar in bars)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _steps(bars: Sequence[Bar]) -> list[float]:
    most = max(bar.value for bar in bars)
    size = 10.0 ** math.floor(math.log10(most))
    # The first step of which at most five are needed.
    for step in (size / 5, size / 2, size, size * 2):
        count = math.ceil(most / step)
        if count <= 5:
            break
    return [step * number for number in range(count + 1)]
