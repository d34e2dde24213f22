"""
How long the end takes: a close with much queued, and the exit of a process.

A close is measured against the ideal, in the same loop and through the same transport, which says
yes at once: for Datadog the bodies of the same events joined to batches of the same size and sent
one after the other; for Freshpaint, whose events go one by one, the events by its limit. The end of
a process is measured from its last statement to the moment at which its parent knows, against a
process without the library.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import orjson

from benchmarks.enqueue import Nowhere, tracking
from benchmarks.harness import Figure, command, in_turns, quiet, ratios
from benchmarks.load import datadog, datadog_body, dispatcher, freshpaint
from sendoff import Request

BATCHED = (10_000, 100_000)
BATCH_BYTES = 5_000_000  # the vendor's limit, and the default of `max_batch_bytes`
ONE_BY_ONE, QUICK_ONE_BY_ONE = 10_000, 2_500
LIMIT = 5_000  # requests a second, the default
CLOSE_SECONDS = 120.0

LAST = """
import sys, time
sys.stdout.write(repr(time.monotonic()))
sys.stdout.flush()
"""
PROCESSES = {
    "without": "import asyncio, aiohttp, anyio, orjson",
    "never_called": """
import asyncio, aiohttp, anyio, orjson
from benchmarks.load import datadog, dispatcher, freshpaint
target = dispatcher(datadog(), freshpaint())
""",
    "never_started": """
import asyncio, aiohttp, anyio, orjson
from benchmarks.enqueue import tracking
from benchmarks.load import datadog, dispatcher, freshpaint
target = dispatcher(datadog(), freshpaint())
tracking(target, 100)
""",
    "after_a_close": """
import asyncio, aiohttp, anyio, orjson
from benchmarks.enqueue import tracking
from benchmarks.load import datadog, dispatcher, freshpaint
async def main():
    async with dispatcher(datadog(), freshpaint()) as target:
        tracking(target, 100)
asyncio.run(main())
""",
}
"""Programs whose last statement is `LAST`; all import the same but for the library itself."""


def closing(events: int) -> float:
    """
    Seconds of a close with so many events queued for Datadog.
    """

    async def run() -> float:
        target = dispatcher(datadog(), transport=Nowhere())
        tracking(target, 1)  # starts it: the transport is open, a worker is there
        await target.flush()
        tracking(target, events)
        begun = time.perf_counter()
        report = await target.aclose(CLOSE_SECONDS)
        taken = time.perf_counter() - begun
        assert report, report
        return taken

    return asyncio.run(run())


def ideal(events: int) -> float:
    """
    Seconds of joining and sending as many bodies.
    """
    body = orjson.dumps(datadog_body())
    # Objects of their own, as a queue has them: one that is joined again and again stays cached.
    bodies = [b"".join((body[:-1], b"}")) for _ in range(events)]

    def batches() -> Iterator[bytes]:
        size = (BATCH_BYTES - 2) // (len(body) + 1)
        for at in range(0, events, size):
            yield b"".join((b"[", b",".join(bodies[at : at + size]), b"]"))

    async def run() -> float:
        transport = Nowhere()
        begun = time.perf_counter()
        for batch in batches():
            await transport.send(Request("http://localhost/", {}, batch), lambda: None)
        return time.perf_counter() - begun

    return asyncio.run(run())


def closing_one_by_one(events: int) -> float:
    """
    Seconds of a close with so many events queued for Freshpaint.
    """

    async def run() -> float:
        target = dispatcher(freshpaint(), transport=Nowhere(0.02))
        tracking(target, events)
        begun = time.perf_counter()
        await target.start()
        report = await target.aclose(CLOSE_SECONDS)
        taken = time.perf_counter() - begun
        assert report, report
        return taken

    return asyncio.run(run())


def exiting(program: str) -> float:
    """
    Seconds from a program's last statement to its end.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program + LAST],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)},
    )
    assert process.stdout is not None
    last = process.stdout.read()  # ends with the process, which is when it is timed
    status = process.wait()
    ended = time.monotonic()
    assert status == 0, status
    return ended - float(last)


def measure(*, quick: bool) -> list[Figure]:
    """
    Closes and exits.
    """
    quiet()
    sizes = BATCHED[:1] if quick else BATCHED
    figures = []
    for events in sizes:
        values = in_turns(
            {"close": lambda n=events: closing(n), "ideal": lambda n=events: ideal(n)},
            5 if quick else 9,
        )
        figures.append(
            Figure.median(
                f"shutdown.datadog.{events}",
                ratios(values, "close", "ideal"),
                against="joining the same bodies to batches and sending them through nothing",
                detail=_milliseconds(values, "close", "ideal"),
            )
        )
    events = QUICK_ONE_BY_ONE if quick else ONE_BY_ONE
    taken = [closing_one_by_one(events) for _ in range(3 if quick else 5)]
    figures.append(
        Figure.median(
            f"shutdown.freshpaint.{events}",
            [one * LIMIT / events for one in taken],
            against=f"the seconds that they take at {LIMIT:,} a second",
            detail=f"measured {statistics.median(taken):.2f} s, answers after 20 ms",
        )
    )
    values = in_turns(
        {name: lambda program=program: exiting(program) for name, program in PROCESSES.items()},
        3 if quick else 15,
    )
    figures += [
        Figure.median(
            f"shutdown.exit.{name}",
            ratios(values, name, "without"),
            against="the exit of a process without the library",
            detail=_milliseconds(values, name, "without"),
        )
        for name in PROCESSES
        if name != "without"
    ]
    return figures


def _milliseconds(values: dict[str, list[float]], of: str, to: str) -> str:
    one, other = statistics.median(values[of]) * 1e3, statistics.median(values[to]) * 1e3
    return f"measured {one:.1f} ms by {other:.1f} ms"


def main() -> int:
    """
    The command line.
    """
    return command(measure, __doc__)


if __name__ == "__main__":
    sys.exit(main())
