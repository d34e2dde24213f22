"""
Runs the contestants in turns and makes figures of what they gave.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure, in_turns, table
from benchmarks.rivals.contestant import WAYS, Task
from benchmarks.rivals.peers import NAMES, peer_of
from benchmarks.rivals.receiver import Arrived, Receiver

__all__ = ["main", "measure"]

ROOT = Path(__file__).parents[2]
FLOOR, OURS = "dumps", "sendoff_datadog"
SENDERS = (OURS, "sendoff_freshpaint")
REPEATS = 5
ONCE = ("exit", "fork")
"""Ways that show what happens and not how much."""
UNFLUSHED = 1_030
"""Events given by a program that does not flush, and by a child; no multiple of any batch."""
LEAST_ADVANTAGE = 15.0
"""How many times less our batches are to cost than the best peer, in the same run."""
SECONDS = 180
"""Of the longest run; a contestant that takes longer has failed."""
HELD_SECONDS = 100
"""For which a shared machine's lock is held; somewhat more, as a run is not interrupted."""
INSTALL = "pip install -e . && pip install --group rivals"

Sample = dict[str, Any]
"""What one run gave: the process's own figures, and what arrived."""


class Runs:
    """
    All runs, and what each gave.

    Args:
        quick: Whether a tenth of the events and one repeat are enough.
        turn: Within it a run happens.
        after: Called after each run.
    """

    def __init__(
        self,
        *,
        quick: bool,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._quick = quick
        self._turn = turn
        self._after = after
        # All mutable state: the samples by contestant and way; None for a run that failed.
        self.samples: dict[str, dict[str, list[Sample | None]]] = {}

    def take(self, names: Sequence[str], ways: Sequence[str]) -> None:
        """
        Runs every contestant every way, in turns.
        """
        for way in ways:
            runs: dict[str, Callable[[], float]] = {
                name: partial(self._one, name, way) for name in names if self._events(name, way)
            }
            repeats = 1 if self._quick or way in ONCE else REPEATS
            in_turns(runs, repeats)

    def _events(self, name: str, way: str) -> int:
        peer = peer_of(name)
        if name == FLOOR and way != "calls":
            return 0
        full = {
            "calls": peer.calls,
            "whole": peer.events,
            "held": peer.held,
            "exit": UNFLUSHED,
            "fork": UNFLUSHED,
        }[way]
        return full // 200 * 20 if self._quick and way not in ONCE else full

    def _one(self, name: str, way: str) -> float:
        events = self._events(name, way)
        sample: Sample | None = None
        with self._turn(), Receiver(silent=way == "held") as receiver:
            task = Task(name, way, receiver.url, events)
            try:
                sample = _run(task)
            except (RuntimeError, subprocess.TimeoutExpired) as exc:
                print(f"{name}: {way}: {exc}", file=sys.stderr)
            if sample is not None and way != "held" and name != FLOOR:
                sample.update(_losses(sample, receiver.arrived(name)))
        if sample is not None:
            sample["events"] = events
        self.samples.setdefault(name, {}).setdefault(way, []).append(sample)
        self._after()
        return 0.0  # what is compared is taken from the samples


class Shared:
    """
    A machine on which others measure too: runs happen under a file's lock, which is let go now and
    then.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")
        # All mutable state: when it is to be let go; None while it is not held.
        self._until: float | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """
        Waits for the lock, if it is not held, and lets it go afterwards, if it was held for long.
        """
        if self._until is None:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._until = time.monotonic() + HELD_SECONDS
        yield
        if time.monotonic() > self._until:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._until = None
            time.sleep(0.5)  # or nobody else would ever get it


def _run(task: Task) -> Sample:
    command = [sys.executable, "-m", "benchmarks.rivals.contestant", json.dumps(asdict(task))]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=ROOT
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"ended with {done.returncode}: {done.stderr[-2000:]}")
    sample: Sample = json.loads(lines[-1])
    return sample


def _losses(sample: Sample, arrived: Arrived) -> Sample:
    return {
        "lost": sample["accepted"] - arrived.unique,
        "twice": arrived.events - arrived.unique,
        "requests": arrived.requests,
        "wire_bytes": arrived.bytes,
    }


def figures_of(samples: dict[str, dict[str, list[Sample | None]]]) -> list[Figure]:
    """
    Figures from samples: ratios within each repeat, then medians.
    """
    figures: list[Figure] = []
    for name, ways in samples.items():
        if name == FLOOR:
            continue
        figures += _call(name, ways.get("calls", []), samples.get(FLOOR, {}).get("calls", []))
        ours = samples.get(OURS, {}).get("whole", [])
        figures += _cpu(name, ways.get("whole", []), ours)
        figures += _memory(name, ways.get("held", []))
        figures += _lost(f"rivals.{name}.lost", [*ways.get("calls", []), *ways.get("whole", [])])
        figures += _lost(f"rivals.{name}.exit", ways.get("exit", []))
        figures += _lost(f"rivals.{name}.fork", ways.get("fork", []))
    return [*figures, *_advantage(samples)]


def _call(name: str, calls: list[Sample | None], floor: list[Sample | None]) -> list[Figure]:
    values = [
        one["median"] / other["median"]
        for one, other in zip(calls, floor, strict=False)
        if one is not None and other is not None
    ]
    if not values:
        return []
    raw = {key: _median(calls, key) for key in ("median", "p99", "max", "cpu")}
    detail = (
        f"measured: median {raw['median']:.1f} us, p99 {raw['p99']:.0f} us, max {raw['max']:.0f}"
        f" us, CPU {raw['cpu']:.1f} us"
    )
    return [Figure.median(f"rivals.{name}.call", values, against="orjson.dumps", detail=detail)]


def _per_event(sample: Sample) -> float:
    return float(sample["cpu"]) / float(sample["events"])


def _cpu(name: str, whole: list[Sample | None], ours: list[Sample | None]) -> list[Figure]:
    values = [
        _per_event(one) / _per_event(other)
        for one, other in zip(whole, ours, strict=False)
        if one is not None and other is not None
    ]
    if not values:
        return []
    seconds = statistics.median(_per_event(one) for one in whole if one is not None) * 1e5
    return [
        Figure.median(
            f"rivals.{name}.cpu",
            values,
            against="sendoff, Datadog in batches",
            detail=f"measured: {seconds:.2f} s of CPU for 100,000 events",
        )
    ]


def _memory(name: str, held: list[Sample | None]) -> list[Figure]:
    values = [
        one["bytes"] / one["accepted"] * 1e5 / 1e6
        for one in held
        if one is not None and one["accepted"]
    ]
    if not values:
        return []
    return [Figure.median(f"rivals.{name}.memory", values, unit="MB", detail="per 100,000 queued")]


def _lost(name: str, samples: list[Sample | None]) -> list[Figure]:
    lost = [one["lost"] for one in samples if one is not None]
    if not lost:
        return []
    given = [one["accepted"] for one in samples if one is not None]
    twice = sum(one["twice"] for one in samples if one is not None)
    detail = f"of {sum(given):,}" + (f", {twice} came twice" if twice else "")
    if any(one is not None and one.get("hung") for one in samples):
        detail += ", and its flush never ended"
    if any(one is not None and one.get("failed") for one in samples):
        detail += ", with an exception"
    return [Figure(name, sum(lost), unit="events", samples=tuple(lost), detail=detail)]


def _advantage(samples: dict[str, dict[str, list[Sample | None]]]) -> list[Figure]:
    """
    How many times less our batches cost than the best peer, repeat by repeat.
    """
    values: list[float] = []
    best: list[str] = []
    for index, ours in enumerate(samples.get(OURS, {}).get("whole", [])):
        costs = {}
        for name, ways in samples.items():
            whole = ways.get("whole", [])
            if name not in (FLOOR, *SENDERS) and index < len(whole):
                sample = whole[index]
                costs[name] = math.inf if sample is None else _per_event(sample)
        if ours is not None and costs and min(costs.values()) < math.inf:
            best.append(min(costs, key=lambda name: costs[name]))
            values.append(costs[best[-1]] / _per_event(ours))
    if not values:
        return []
    return [
        Figure.median(
            "rivals.advantage",
            values,
            against="the best peer's CPU for one event",
            goal=LEAST_ADVANTAGE,
            at_most=False,
            detail=f"best: {', '.join(sorted(set(best)))}",
        )
    ]


def _median(samples: list[Sample | None], key: str) -> float:
    return statistics.median(float(one[key]) for one in samples if one is not None)


def contestants(only: Sequence[str] = ()) -> list[str]:
    """
    Who can be measured here: the floor, sendoff, and the peers that are installed.

    Args:
        only: The peers wanted; all if it is empty.
    """
    wanted = [name for name in NAMES if not only or name in only or name in (FLOOR, *SENDERS)]
    missing = [
        name
        for name in wanted
        if name not in (FLOOR, *SENDERS) and peer_of(name).versions() is None
    ]
    if missing:
        print(f"not installed: {', '.join(missing)}; to have them: {INSTALL}", file=sys.stderr)
    return [name for name in wanted if name not in missing]


def measure(*, quick: bool) -> list[Figure]:
    """
    All figures; none if no peer is installed, which is said on stderr.
    """
    names = contestants()
    if set(names) <= {FLOOR, *SENDERS}:
        print("no peer to measure against; skipped", file=sys.stderr)
        return []
    runs = Runs(quick=quick)
    runs.take(names, WAYS)
    return figures_of(runs.samples)


def main() -> int:
    """
    Measures what is asked for; the exit status, 1 if a goal is missed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals")
    parser.add_argument("--quick", action="store_true", help="a tenth of the events, once")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="also the samples")
    parser.add_argument("--only", default="", help="these peers, with commas between")
    parser.add_argument("--ways", default=",".join(WAYS), help="with commas between")
    parser.add_argument("--lock", type=Path, help="a file whose lock is held while measuring")
    options = parser.parse_args()
    names = contestants([name for name in options.only.split(",") if name])
    if set(names) <= {FLOOR, *SENDERS}:
        print("no peer to measure against; skipped", file=sys.stderr)
        return 0
    turn = nullcontext if options.lock is None else Shared(options.lock).turn
    file = None if options.json in (None, "-") else Path(options.json)
    versions = {name: peer_of(name).versions() for name in names}

    def result() -> str:
        figures = [figure.as_json() for figure in figures_of(runs.samples)]
        about = {"python": platform.python_version(), "quick": options.quick, "versions": versions}
        return json.dumps({**about, "figures": figures, "samples": runs.samples}, indent=1) + "\n"

    def keep() -> None:
        if file is not None:  # what was measured is kept if the rest is not
            file.write_text(result())

    runs = Runs(quick=options.quick, turn=turn, after=keep)
    runs.take(names, options.ways.split(","))
    figures = figures_of(runs.samples)
    print(result() if options.json == "-" else table(figures))
    return 1 if any(figure.met is False for figure in figures) else 0
