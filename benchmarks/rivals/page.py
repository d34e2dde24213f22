"""
Puts measured figures into ``docs/explanation/comparison.md``, between its two markers.

``python -m benchmarks.rivals.page`` writes them from ``benchmarks/results/rivals-*.json``; with
``--check`` it writes nothing and exits with 1 if the page says something else.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.rivals.peers import NAMES, peer_of

__all__ = ["block", "filled"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/comparison.md"
RESULTS = ROOT / "benchmarks/results"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
FLOOR = "dumps"
NONE = "-"
HEAD = (
    "contestant",
    "a call, in `dumps`",
    "median / p99 / longest, µs",
    "CPU of its thread, µs",
    "CPU, s per 100,000",
    "in ours",
    "MB per 100,000 queued",
    "lost after its flush",
    "lost at exit",
    "lost in a child",
)


def block(result: dict[str, Any]) -> str:
    """
    One run's figures, as Markdown.
    """
    figures = {figure["name"]: figure for figure in result["figures"]}
    rows = [
        _row(name, figures, result["samples"])
        for name in NAMES
        if name != FLOOR and name in result["samples"]
    ]
    lines = [
        f"### Python {result['python']}",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|---" * len(HEAD) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
    floor = [one["median"] for one in result["samples"].get(FLOOR, {}).get("calls", []) if one]
    if floor:
        lines += [f"`dumps` itself: {statistics.median(floor):.2f} µs measured in the same rhythm."]
    if "rivals.advantage" in figures:
        one = figures["rivals.advantage"]
        low, high = min(one["samples"]), max(one["samples"])
        spread = f"{low:.1f} to {high:.1f}; {one['detail']}"
        said = f"Our batches cost {one['value']:.1f} times less than the best peer of each repeat"
        lines += [f"{said} ({spread}); the goal is {one['goal']:g}."]
    if "note" in result:
        lines += ["", f"Not in the same run: {result['note']}."]
    lines += ["", "Versions: " + _versions(result["versions"]) + "."]
    return "\n".join(lines) + "\n"


def _row(name: str, figures: dict[str, Any], samples: dict[str, Any]) -> tuple[str, ...]:
    def value(what: str, form: str) -> str:
        figure = figures.get(f"rivals.{name}.{what}")
        return NONE if figure is None else format(figure["value"], form)

    def lost(what: str) -> str:
        figure = figures.get(f"rivals.{name}.{what}")
        if figure is None:
            return NONE
        _, _, said = figure["detail"].partition(", ")  # behind how many were given
        return f"{figure['value']:,}" + (f"; {said}" if said and what != "lost" else "")

    def median(way: str, key: str) -> float | None:
        found = [one[key] for one in samples[name].get(way, []) if one is not None]
        return statistics.median(found) if found else None

    calls = [median("calls", key) for key in ("median", "p99", "max")]
    cpu = median("calls", "cpu")
    whole = [
        one["cpu"] / one["events"] * 1e5
        for one in samples[name].get("whole", [])
        if one is not None
    ]
    return (
        peer_of(name).title,
        value("call", ".1f"),
        " / ".join(NONE if one is None else _number(one) for one in calls),
        NONE if cpu is None else _number(cpu),
        _number(statistics.median(whole)) if whole else NONE,
        value("cpu", ".1f"),
        value("memory", ".0f"),
        lost("lost"),
        lost("exit"),
        lost("fork"),
    )


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _versions(versions: dict[str, dict[str, str] | None]) -> str:
    every: dict[str, str] = {}
    for packages in versions.values():
        every.update(packages or {})
    return ", ".join(f"{name} {version}" for name, version in sorted(every.items()))


def filled(page: str) -> str:
    """
    A page with the figures of all stored runs between its markers.
    """
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    stored = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("rivals-*.json"))]
    blocks = "\n".join(map(block, stored))
    return f"{before}{BEGIN}\n\n{blocks}\n{END}{after}"


def main() -> int:
    """
    Writes or checks the page; the exit status.
    """
    page = PAGE.read_text()
    wanted = filled(page)
    if "--check" in sys.argv:
        return int(page != wanted)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
