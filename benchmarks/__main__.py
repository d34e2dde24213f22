"""
All measurements, each module in a process of its own: ``python -m benchmarks [NAME ...]``.

Prints a table with the goals, compares the ratios with those of an earlier run, and writes JSON.
Exits with 1 if a goal is missed (with ``--quick`` by a wide margin only), a ratio is much worse
than the baseline, or a module fails; with 0 if the machine is too noisy for more than to say so.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.harness import Figure, table
from benchmarks.judgement import NOISE, Baseline, Judged, judge_all, renewed

NAMES = (
    "enqueue",
    "parts",
    "spooled",
    "lane",
    "throttle",
    "wire",
    "batches",
    "lag",
    "memory",
    "shared",
    "shutdown",
    "imports",
    "rivals",
)
"""In the order in which they run: from the call to the end, and then the others."""

BASELINE = Path(__file__).with_name("baseline.json")
TIMEOUT = 1_200.0
QUICK_TIMEOUT = 60.0
PACKAGES = ("aiohttp", "anyio", "httptools", "orjson", "uvloop")


@dataclass(frozen=True, slots=True)
class Found:
    """
    What became of one module.

    Attributes:
        name: The module.
        figures: What it measured; nothing if it had nothing to measure or failed.
        seconds: How long it took.
        noise: Of the machine, by `judgement.noise_of`.
        failure: Why there are no figures; empty if it ended well.
    """

    name: str
    figures: Sequence[Figure] = ()
    seconds: float = 0.0
    noise: float = 1.0
    failure: str = ""

    def as_json(self) -> dict[str, Any]:
        """
        All of it, with plain values.
        """
        return {
            "seconds": self.seconds,
            "noise": self.noise,
            "failure": self.failure,
            "figures": [one.as_json() for one in self.figures],
        }

    @classmethod
    def from_json(cls, name: str, values: Mapping[str, Any]) -> Self:
        """
        What `as_json` made, or `benchmarks.alone` wrote.
        """
        figures = tuple(map(Figure.from_json, values["figures"]))
        return cls(name, figures, values["seconds"], values["noise"], values.get("failure", ""))


def run_alone(name: str, *, quick: bool, timeout: float) -> Found:
    """
    Runs one module in a process of its own, which is killed with all of its children after so many
    seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "found.json")
        command = [sys.executable, "-m", "benchmarks.alone", name, str(path)]
        process = subprocess.Popen(
            [*command, "--quick"] if quick else command,
            stdout=sys.stderr,  # what a module prints is for people; ours may be JSON
            process_group=0,
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return Found(name, seconds=timeout, failure=f"not done after {timeout:g} s")
        finally:
            # Also after a good end: what it started must not touch the next one's figures.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if status != 0:
            return Found(name, failure=f"ended with status {status}")
        return Found.from_json(name, json.loads(path.read_text()))


def facts(*, quick: bool) -> dict[str, Any]:
    """
    What the figures depend on; nothing that names the machine, no date.
    """
    versions = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "loop": "asyncio",
        "packages": versions,
        "quick": quick,
    }


def python_version() -> str:
    """
    What baselines are kept by: ``3.11``.
    """
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def read_baseline(path: Path) -> dict[str, Baseline]:
    """
    The ratios by version of Python; none if there is no such file yet.
    """
    return json.loads(path.read_text()) if path.exists() else {}


def judged(found: Found, *, quick: bool, baseline: Baseline) -> list[Judged]:
    """
    What is said of a module's figures.
    """
    return judge_all(found.figures, quick=quick, noise=found.noise, baseline=baseline)


def report(found: Found, marks: Sequence[Judged]) -> str:
    """
    A module's part of what is printed.
    """
    lines = [f"== {found.name} ({found.seconds:.1f} s)"]
    if found.failure:
        lines.append(f"FAILED: {found.failure}")
    elif not found.figures:
        lines.append("nothing to measure here")
    else:
        lines.append(table(found.figures, [one.mark.value for one in marks]))
    if found.noise > NOISE:
        lines.append(f"the machine is too noisy: equal loops differed by {found.noise:.1f} times")
    lines += [f"{one.figure.name}: {one.mark.value}, {one.why}" for one in marks if one.why]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measures; the exit status.
    """
    options = _options(arguments)
    out = sys.stderr if options.json == "-" else sys.stdout
    stored = read_baseline(options.baseline)
    baseline = stored.get(python_version(), {})
    all_found: list[Found] = []
    failed: list[str] = []
    for name in options.names or NAMES:
        timeout = options.timeout or (QUICK_TIMEOUT if options.quick else TIMEOUT)
        found = run_alone(name, quick=options.quick, timeout=timeout)
        marks = judged(found, quick=options.quick, baseline=baseline)
        if options.quick and (found.failure or any(one.fails for one in marks)):
            # A short run has few repeats: what it says must hold twice.
            print(report(found, marks), "once more", sep="\n", end="\n\n", file=out, flush=True)
            found = run_alone(name, quick=True, timeout=timeout)
            marks = judged(found, quick=True, baseline=baseline)
        print(report(found, marks), end="\n\n", file=out, flush=True)
        all_found.append(found)
        failed += [one.figure.name for one in marks if one.fails]
        failed += [name] if found.failure else []
    _write(options, stored, baseline, all_found)
    print(closing_line(all_found, failed), file=out)
    return 1 if failed else 0


def closing_line(all_found: Iterable[Found], failed: Sequence[str]) -> str:
    """
    All of it in a line.
    """
    figures = [one for found in all_found for one in found.figures]
    goals = [one.met for one in figures if one.met is not None]
    line = f"{len(figures)} figures, {goals.count(True)} of {len(goals)} goals met"
    return f"{line}; failed: {', '.join(failed)}" if failed else line


def _write(
    options: argparse.Namespace,
    stored: dict[str, Baseline],
    baseline: Baseline,
    all_found: Sequence[Found],
) -> None:
    if options.json:
        results = {
            **facts(quick=options.quick),
            "modules": {found.name: found.as_json() for found in all_found},
        }
        text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text)
    if options.save_baseline:
        ended = [found for found in all_found if not found.failure]
        stored[python_version()] = renewed(
            baseline,
            {found.name: found.figures for found in ended},
            noise={found.name: found.noise for found in ended},
        )
        options.baseline.write_text(json.dumps(dict(sorted(stored.items())), indent=1) + "\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.strip().partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, smaller loads")
    parser.add_argument("--json", metavar="FILE", help="write the results; - for stdout")
    parser.add_argument(
        "--baseline", type=Path, default=BASELINE, metavar="FILE", help="ratios to compare with"
    )
    parser.add_argument(
        "--save-baseline", action="store_true", help="keep this run's ratios to compare with"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="for each module")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    # Whoever ends this ends what it has started, too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
