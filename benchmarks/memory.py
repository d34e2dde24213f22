"""
Resident memory of 100,000 queued events, to one destination, in a process of its own.

There is no loop, so what is queued stays queued. Measured is what the process has more than after
the first 1,000 events, by its pages. The event has 300 bytes as Datadog's body; Freshpaint's of the
same event are longer by 31, so there it has two properties less, but for the figure of both.
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.harness import Figure, command

__all__ = ["measure"]

PER = 100_000
WARM = 1_000
GOAL = 45.0
"""MB, in 10^6 bytes, for each 100,000 events to one destination."""

PROBE = """
import gc, json, os, sys
from benchmarks import load

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

names, warm, events = sys.argv[1].split("+"), int(sys.argv[2]), int(sys.argv[3])
dispatcher = load.dispatcher(*(getattr(load, name)() for name in names))
if names == ["freshpaint"]:
    for name in ("channel", "currency"):
        del load.KEYWORDS["properties"][name]
for _ in range(warm):
    dispatcher.track(load.EVENT, **load.KEYWORDS)
gc.collect()
tracked, before = len(gc.get_objects()), resident()
for _ in range(events):
    dispatcher.track(load.EVENT, **load.KEYWORDS)
gc.collect()
stats = dispatcher.stats().destinations
print(json.dumps({
    "resident": resident() - before,
    "tracked": len(gc.get_objects()) - tracked,
    "bodies": sum(one.pending_bytes for one in stats.values()) * events / (events + warm),
    "queued": sum(one.pending for one in stats.values()),
}))
os._exit(0)  # nobody is there to send it to
"""


def probe(names: str, events: int) -> dict[str, float]:
    """
    What a process of its own has to say.

    Args:
        names: Destinations of `load`, with a plus in between.
        events: How many are queued beyond the first.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROBE, names, str(WARM), str(events)],
        capture_output=True,
        text=True,
        check=True,
    )
    seen: dict[str, float] = json.loads(done.stdout)
    expected = (events + WARM) * len(names.split("+"))
    if seen["queued"] != expected:
        raise RuntimeError(f"{seen['queued']} of {expected} events are queued")
    return seen


def measure(*, quick: bool) -> list[Figure]:
    """
    For each kind of destination, and both together.
    """
    events, repeats = (PER, 1) if quick else (2 * PER, 5)
    figures = []
    for names in ("datadog", "freshpaint", "datadog+freshpaint"):
        seen = [probe(names, events) for _ in range(repeats)]
        one = seen[0]
        bodies = one["bodies"] / (events * len(names.split("+")))
        figures.append(
            Figure.median(
                f"memory.{'both' if '+' in names else names}",
                [each["resident"] / events * PER / 1e6 for each in seen],
                unit="MB",
                goal=None if "+" in names else GOAL,
                detail=(
                    f"for {PER:,} events, bodies of {bodies:.0f} bytes each; "
                    f"{one['tracked']:.0f} more objects for the garbage collector"
                ),
            )
        )
    return figures


def main() -> int:
    """
    Measures and prints.
    """
    return command(measure, __doc__)


if __name__ == "__main__":
    sys.exit(main())
