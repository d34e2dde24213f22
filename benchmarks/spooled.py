"""
What a spool adds to a call, in terms of one bare `os.write` of the same body to a file.

The folder is the system's for temporary files, or ``TMPDIR``: what it lies on decides what a write
costs, for both. Each sample has a dispatcher and a folder of its own. The clock on the wall counts,
because a disk takes no processor time.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import orjson

from benchmarks.enqueue import Nowhere, tracking
from benchmarks.harness import Figure, command, in_turns, quiet
from benchmarks.load import datadog, datadog_body, dispatcher, freshpaint
from sendoff import Spool

EVENTS, QUICK_EVENTS = 20_000, 4_000
SYNCED_EVENTS, QUICK_SYNCED_EVENTS = 500, 100
"""Of a sample in which every call waits for the disk."""

WARM_UP = 200
GOAL = 2.5


def bare(count: int, *, sync: bool = False) -> float:
    """
    Seconds of one write of the load's body to the end of a file.
    """
    body = orjson.dumps(datadog_body())
    with tempfile.TemporaryDirectory() as folder:
        file = os.open(f"{folder}/bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for _ in range(WARM_UP if not sync else 1):
                os.write(file, body)
            begun = time.perf_counter()
            if sync:
                for _ in range(count):
                    os.write(file, body)
                    os.fsync(file)
            else:
                for _ in range(count):
                    os.write(file, body)
            return (time.perf_counter() - begun) / count
        finally:
            os.close(file)


def tracked(
    count: int, *destinations: Callable[[], Any], spooled: bool, fsync: Any = "never"
) -> float:
    """
    Seconds of one call.
    """
    with ExitStack() as stack:
        options: dict[str, Any] = {"transport": Nowhere()}
        if spooled:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            options["spool"] = Spool(f"{folder}/spool", fsync=fsync)
        target = dispatcher(*(make() for make in destinations), **options)
        warm = WARM_UP if fsync != "always" else 1
        tracking(target, warm)
        begun = time.perf_counter()
        tracking(target, count)
        taken = time.perf_counter() - begun
        for stats in target.stats().destinations.values():
            assert stats.pending == count + warm, stats
        asyncio.run(target.aclose(0))
    return taken / count


def measure(*, quick: bool) -> list[Figure]:
    """
    By policy of `fsync`, to Datadog; and to both destinations, which have a file each.
    """
    quiet()
    count = QUICK_EVENTS if quick else EVENTS
    synced = QUICK_SYNCED_EVENTS if quick else SYNCED_EVENTS
    values = in_turns(
        {
            "write": lambda: bare(count),
            "write and sync": lambda: bare(synced, sync=True),
            "memory": lambda: tracked(count, datadog, spooled=False),
            "never": lambda: tracked(count, datadog, spooled=True),
            "every_second": lambda: tracked(count, datadog, spooled=True, fsync=1.0),
            "always": lambda: tracked(synced, datadog, spooled=True, fsync="always"),
            "memory of both": lambda: tracked(count, datadog, freshpaint, spooled=False),
            "both": lambda: tracked(count, datadog, freshpaint, spooled=True),
        },
        5 if quick else 9,
    )
    medians = {name: statistics.median(taken) * 1e6 for name, taken in values.items()}

    def added(name: str, without: str, to: str, against: str, goal: float | None) -> Figure:
        return Figure.median(
            f"spooled.{name}",
            [
                (one - other) / write
                for one, other, write in zip(values[name], values[without], values[to], strict=True)
            ],
            against=against,
            goal=goal,
            detail=(
                f"measured {medians[name]:.2f} µs less {medians[without]:.2f} µs without, "
                f"by {medians[to]:.2f} µs"
            ),
        )

    write = "one bare os.write of the body"
    return [
        added("never", "memory", "write", write, GOAL),
        added("every_second", "memory", "write", write, None),
        added("always", "memory", "write and sync", f"{write} and fsync", None),
        added("both", "memory of both", "write", f"{write}; two are needed", None),
    ]


def main() -> int:
    """
    The command line.
    """
    return command(measure, __doc__)


if __name__ == "__main__":
    sys.exit(main())
