"""
Writes the tables of docs/explanation/performance.md and its charts from the stored results.

``python -m benchmarks.report`` writes them; a test compares them with what is in the tree. With
``--run`` it measures first, with this Python or those that are named, and keeps the results:
``python -m benchmarks.report --run python3.11 python3.13``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.charts import CHARTS, drawn, shown
from benchmarks.harness import Figure
from benchmarks.judgement import NOISE

__all__ = ["CHART_FOLDER", "PAGE", "charted", "figures_of", "filled", "patterns", "read_results"]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "explanation" / "performance.md"
CHART_FOLDER = PAGE.parent / "charts"

SECTION = re.compile(r"(<!-- (figures|facts|chart)(?: ([^\n]*))? -->\n)(?s:.*?)(<!-- end -->)")
"""A part of the page that is made here: what it shows stands in its first line."""

Results = Mapping[str, Mapping[str, Any]]
"""What `python -m benchmarks --json` wrote, by version of Python, the oldest first."""


def read_results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """
    All stored results; those of the rivals, who need an environment of their own, lie beside them.

    Raises:
        ValueError: One comes from a short run, whose figures are not for publishing.
    """
    paths = [path for path in folder.glob("*.json") if re.fullmatch(r"\d+\.\d+", path.stem)]
    found = {}
    for path in sorted(paths, key=lambda path: [int(part) for part in path.stem.split(".")]):
        found[path.stem] = json.loads(path.read_text())
        _refuse_short(path, found[path.stem])
    for path in sorted(folder.glob("rivals-*.json")):
        version = path.stem.removeprefix("rivals-")
        if version in found:
            rivals = json.loads(path.read_text())
            _refuse_short(path, rivals)
            whole = {"seconds": 0.0, "noise": 1.0, "failure": "", "figures": rivals["figures"]}
            found[version]["modules"]["rivals"] = whole
    return found


def _refuse_short(path: Path, results: Mapping[str, Any]) -> None:
    if results["quick"]:
        raise ValueError(f"{path.name} comes from a short run")


def figures_of(results: Mapping[str, Any]) -> list[Figure]:
    """
    All figures of one version, in the order in which they were measured.
    """
    return [
        Figure.from_json(values)
        for module in results["modules"].values()
        for values in module["figures"]
    ]


def patterns(page: str) -> list[str]:
    """
    The patterns of figures' names that a page has a table for.
    """
    return [match[3] for match in SECTION.finditer(page) if match[2] == "figures"]


def filled(page: str, results: Results) -> str:
    """
    A page with its made parts as the results have them.
    """
    return SECTION.sub(lambda match: match[1] + _made(match[2], match[3], results) + match[4], page)


def _made(kind: str, what: str, results: Results) -> str:
    if kind == "facts":
        return "".join(f"* {_facts(version)}\n" for version in results.values())
    if kind == "chart":
        return _charts(what, results)
    return _table(what, results)


def _facts(of: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in of["packages"].items())
    noisy = [f"`{name}`" for name, module in of["modules"].items() if module["noise"] > NOISE]
    failed = [f"`{name}`" for name, module in of["modules"].items() if module["failure"]]
    return (
        f"{of['implementation']} {of['python']}, {of['system']} on {of['machine']}, "
        f"{of['cpus']} processors, {packages}"
        + (f"; the machine was noisy during {', '.join(noisy)}" if noisy else "")
        + (f"; {', '.join(failed)} failed" if failed else "")
    )


def _charts(name: str, results: Results) -> str:
    chart = next(chart for chart in CHARTS if chart.name == name)
    if not chart.bars(charted(results)):
        return "Not measured yet.\n"
    return f"![{chart.title}: {chart.unit}](charts/{name}.svg)\n"


def charted(results: Results) -> list[Figure]:
    """
    What charts are made from: of each module the figures of the newest version that has them.
    """
    modules: dict[str, Any] = {}
    for version in results.values():
        modules |= {name: one for name, one in version["modules"].items() if one["figures"]}
    return figures_of({"modules": modules})


def _table(pattern: str, results: Results) -> str:
    found = {
        version: {one.name: one for one in figures_of(of) if re.search(pattern, one.name)}
        for version, of in results.items()
    }
    names = list(dict.fromkeys(name for figures in found.values() for name in figures))
    if not names:
        return "Not measured yet.\n"
    rows = [
        ("figure", "goal", *(f"Python {version}" for version in found), "against"),
        ("---",) * (3 + len(found)),
    ]
    for name in names:
        versions = [figures.get(name) for figures in found.values()]
        some = next(one for one in versions if one is not None)
        rows.append((f"`{name}`", _goal(some), *map(_cell, versions), _against(some)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return f"{'≤' if figure.at_most else '≥'} {figure.goal:,g}{_unit(figure)}"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "not measured"
    text = f"{shown(figure.value)}{_unit(figure)}"
    return f"**{text}, missed**" if figure.met is False else text


def _unit(figure: Figure) -> str:
    return " \N{MULTIPLICATION SIGN}" if figure.unit == "x" else f" {figure.unit}"


def _against(figure: Figure) -> str:
    text = "; ".join(part for part in (figure.against, figure.detail) if part)
    return text.replace("|", "\\|")


def run(python: str, names: Sequence[str], *, save_baseline: bool) -> None:
    """
    Measures with a Python and keeps what it found in place of what was stored of these modules.

    A goal that is missed is a result like any other.

    Args:
        python: The interpreter.
        names: The modules; all if there are none.
        save_baseline: Whether later runs are compared with this one.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.json")
        subprocess.run(
            [
                *(python, "-m", "benchmarks", *names, "--json", str(path)),
                *(["--save-baseline"] if save_baseline else []),
            ],
            cwd=ROOT,
            check=False,
        )
        found = json.loads(path.read_text())
    version = ".".join(found["python"].split(".")[:2])
    RESULTS.mkdir(exist_ok=True)
    stored = RESULTS / f"{version}.json"
    if names and stored.exists():
        found["modules"] = {**json.loads(stored.read_text())["modules"], **found["modules"]}
    stored.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def main() -> int:
    """
    Measures if asked to, and writes; the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
    parser.add_argument(
        "--run", nargs="*", metavar="PYTHON", help="measure first, with these or with this one"
    )
    parser.add_argument(
        "--save-baseline", action="store_true", help="compare later runs with this one"
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="what to measure")
    options = parser.parse_args()
    if options.run is not None:
        for python in options.run or [sys.executable]:
            run(python, options.only, save_baseline=options.save_baseline)
    results = read_results()
    PAGE.write_text(filled(PAGE.read_text(), results))
    CHART_FOLDER.mkdir(exist_ok=True)
    for name, text in drawn(charted(results)).items():
        (CHART_FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
