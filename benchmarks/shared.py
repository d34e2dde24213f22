"""
Whether an event costs the same however many are queued: from 1,000 to 1,000,000.

One dispatcher for each depth, each with a transport that answers at once when it is let, and waits
otherwise. They take turns, in another order each round: 2,000 events leave one, in batches of 500,
and whenever some have left as many are given to it, so its depth stays what it is. Two costs, in
processor time for one event, each in terms of what it is with 1,000 queued: that of the call, and
that of the way from the queue to the answer.

A round in which Python collects all garbage is far off the median, so that is a figure of its own:
a full collection looks at every event in the queue, though an event is nothing it would ever free.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks import load
from benchmarks.harness import Figure, command
from sendoff import MemoryTransport, Request, Response

__all__ = ["measure"]

SIZES = (1_000, 10_000, 100_000, 1_000_000)
FLAT = 1.1
ROUND = 2_000
BATCH_EVENTS = 500

Costs = Mapping[int, tuple[float, float]]
"""By the depth: processor seconds of a call, and of an event's way from the queue to the answer."""


class Depth:
    """
    A dispatcher with so many events queued, in the running loop.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._open = asyncio.Event()
        self._answered = 0
        self._transport = MemoryTransport(self._answer)
        destination = load.datadog(
            max_batch_events=BATCH_EVENTS, rate_limit=None, workers=1, timeout=3_600.0
        )
        self._dispatcher = load.dispatcher(destination, transport=self._transport)
        (self._intake,) = self._dispatcher._intakes

    async def _answer(self, request: Request) -> Response:
        await self._open.wait()
        self._answered += BATCH_EVENTS
        self._transport.requests.clear()
        return Response(202)

    def fill(self) -> int:
        """
        Calls until it is as deep as it should be; how many those are.
        """
        calls = self._size - len(self._intake.queue)
        for _ in range(calls):
            self._dispatcher.track(load.EVENT, **load.KEYWORDS)
        return max(calls, 0)

    async def start(self) -> None:
        """
        Fills it and starts it; its worker then waits for an answer.
        """
        self.fill()
        await self._dispatcher.start()

    async def round(self) -> tuple[float, float]:
        """
        Lets some events go; processor seconds of a call, and of the rest, for one event.
        """
        calling = going = 0.0
        calls, before = 0, self._answered
        self._open.set()
        while self._answered < before + ROUND:
            begun = time.process_time()
            await asyncio.sleep(0)
            gone = time.process_time()
            calls += self.fill()
            calling += time.process_time() - gone
            going += gone - begun
        self._open.clear()
        return calling / calls, going / (self._answered - before)

    async def close(self) -> None:
        """
        Lets everything go.

        Raises:
            RuntimeError: Not every event has arrived.
        """
        self._open.set()
        await self._dispatcher.aclose(timeout=60)
        stats = self._dispatcher.stats().destinations["datadog"]
        if stats.delivered != stats.submitted:
            raise RuntimeError(f"{stats.delivered} of {stats.submitted} events were delivered")


async def _rounds(sizes: Sequence[int], repeats: int, rounds: int) -> tuple[list[Costs], float]:
    """
    The median costs of each repeat, and seconds of a full collection.
    """
    order = random.Random(0)
    depths = {size: Depth(size) for size in sizes}
    for one in depths.values():
        await one.start()
    samples: list[Costs] = []
    for _ in range(repeats):
        gc.collect()
        seen: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
        for _ in range(rounds):
            for size in order.sample(sizes, len(sizes)):
                seen[size].append(await depths[size].round())
        samples.append(
            {
                size: (
                    statistics.median(call for call, _ in costs),
                    statistics.median(rest for _, rest in costs),
                )
                for size, costs in seen.items()
            }
        )
    begun = time.perf_counter()
    gc.collect()
    collection = time.perf_counter() - begun
    for one in depths.values():
        await one.close()
    return samples, collection


def measure(*, quick: bool) -> list[Figure]:
    """
    All depths in terms of the smallest.
    """
    sizes, repeats, rounds = (SIZES[:3], 3, 10) if quick else (SIZES, 5, 30)
    begun = time.perf_counter()
    gc.collect()
    alone = time.perf_counter() - begun
    samples, collection = asyncio.run(_rounds(sizes, repeats, rounds))
    figures = [
        Figure.median(
            f"shared.{name}.{size}",
            [costs[size][at] / costs[SIZES[0]][at] for costs in samples],
            against=f"with {SIZES[0]:,} queued",
            goal=FLAT,
            detail=f"{statistics.median(costs[size][at] for costs in samples) * 1e6:.2f} us",
        )
        for at, name in enumerate(("call", "drain"))
        for size in sizes[1:]
    ]
    figures.append(
        Figure(
            "shared.collection",
            collection * 1e3,
            unit="ms",
            detail=f"one full collection with {sum(sizes):,} queued; {alone * 1e3:.1f} with none",
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
