"""
How late the callbacks of a host app are, with the library in it and without.

The app turns a small document into JSON and back 1,000 times a second; with the library each of
those tracks two events to both vendors, that is 2,000 events a second and as many requests to
Freshpaint, and a batch to Datadog every second. The vendors are lean receivers in processes of
their own that answer after 20 ms. Between the app's own callbacks another one comes every
millisecond and notes by how much it is late. With and without take turns in one process.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import load
from benchmarks.harness import Figure, command
from benchmarks.receiver import Receiver
from sendoff import Dispatcher

__all__ = ["measure"]

PERIOD = 0.001
EVENTS_PER_TICK = 2
LATENCY = 0.020
WITHIN = 2.0
"""Milliseconds of lag that the library may add."""

DOCUMENT = json.dumps({"rows": [{"id": n, "name": f"name {n}", "price": n / 7} for n in range(12)]})


@dataclass
class Run:
    """
    One run of the app.

    Attributes:
        lags: By how many milliseconds callbacks were late, in order of size.
        processor: The share of one processor that the process took.
        tracked: Events given away.
    """

    lags: list[float]
    processor: float
    tracked: int

    def at(self, share: float) -> float:
        """
        The lag that this share of the callbacks keeps to.
        """
        return self.lags[int(len(self.lags) * share)]


async def app(seconds: float, dispatcher: Dispatcher | None) -> Run:
    """
    Runs the app for so long.
    """
    loop = asyncio.get_running_loop()
    lags: list[float] = []
    tracked = 0
    begun = loop.time()
    over = begun + seconds

    def every(first: float, call: Callable[[float], None]) -> None:
        def tick(due: float) -> None:
            now = loop.time()
            call(now - due)
            # What was missed while the loop stood still is not made up for.
            following = max(due + PERIOD, now)
            if following < over:
                loop.call_at(following, tick, following)

        loop.call_at(first, tick, first)

    def serve(_: float) -> None:
        nonlocal tracked
        json.dumps(json.loads(DOCUMENT))
        if dispatcher is not None:
            for _ in range(EVENTS_PER_TICK):
                tracked += dispatcher.track(load.EVENT, **load.KEYWORDS) is not None

    used = time.process_time()
    every(begun + PERIOD, serve)
    every(begun + PERIOD * 1.5, lambda late: lags.append(late * 1e3))
    await asyncio.sleep(seconds)
    used = time.process_time() - used
    return Run(sorted(lags), used / seconds, tracked)


async def _turns(
    datadog: Receiver, freshpaint: Receiver, seconds: float, repeats: int
) -> list[tuple[Run, Run]]:
    pairs = []
    for number in range(repeats + 1):
        without = await app(seconds, None)
        destinations = load.datadog(endpoint=datadog.url), load.freshpaint(endpoint=freshpaint.url)
        async with load.dispatcher(*destinations, transport=None) as dispatcher:
            # The first seconds open connections, which an app does once.
            warm = await app(1.0, dispatcher)
            within = await app(seconds, dispatcher)
            await dispatcher.flush()
        arrived = datadog.count()["events"], freshpaint.count()["events"]
        expected = warm.tracked + within.tracked
        if arrived != (expected, expected):
            raise RuntimeError(f"{arrived} of {expected} events arrived")
        if number:
            pairs.append((within, without))
    return pairs


def measure(*, quick: bool) -> list[Figure]:
    """
    The lag with the library, beyond that without.
    """
    seconds, repeats = (2.0, 2) if quick else (5.0, 5)
    with Receiver(latency=LATENCY) as datadog, Receiver(latency=LATENCY) as freshpaint:
        pairs = asyncio.run(_turns(datadog, freshpaint, seconds, repeats))

    def shown(share: float) -> str:
        within = statistics.median(one.at(share) for one, _ in pairs)
        without = statistics.median(one.at(share) for _, one in pairs)
        return f"{within:.2f} and {without:.2f}"

    rate = statistics.median(one.tracked for one, _ in pairs) / seconds
    return [
        Figure.median(
            "lag.p99_9",
            [within.at(0.999) - without.at(0.999) for within, without in pairs],
            unit="ms",
            against="beyond the app alone",
            goal=WITHIN,
            detail=(
                f"lag with and without at 99.9 %: {shown(0.999)}, 99 %: {shown(0.99)}, "
                f"50 %: {shown(0.5)} ms; {rate:,.0f} events/s to each"
            ),
        ),
        Figure.median(
            "lag.processor",
            [100 * (within.processor - without.processor) for within, without in pairs],
            unit="%",
            against="of one processor, beyond the app alone",
        ),
    ]


def main() -> int:
    """
    Measures and prints.
    """
    return command(measure, __doc__)


if __name__ == "__main__":
    sys.exit(main())
