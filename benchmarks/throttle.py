"""
The throttle: what a permit costs, and what its promise is worth at the receiver.

* `throttle.permit`: `acquire` and `sent` of one request that need not wait, in microseconds, and
  the same in units of one `orjson.dumps` of the event.
* `throttle.fullest.N`: the most requests that arrived within any sliding second, at a limit of N.
* `throttle.used.N`: the share of the limit that was used while there was something to send. Both by
  the arrival times that a lean server in a process of its own has noted: one that is busy itself
  would measure its own turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from benchmarks.harness import Figure, in_turns, ratios, table
from benchmarks.lane import dumps
from benchmarks.server import FullestSeconds, Server
from benchmarks.window import budget_used, send
from sendoff._throttle import Throttle

LIMITS = (1_000, 3_000, 5_000)
SECONDS = 5
"""Seconds of sending at each limit."""

NO_OUTAGE = (1e18, 0.0)


def permit(limit: int = 5_000, times: int = 50_000) -> float:
    """
    Processor microseconds for a permit that is there, and for the word that its request has left.
    """
    throttle = Throttle(limit)
    acquire, sent = throttle.acquire, throttle.sent
    step = 1.1 / limit
    now = 0.0
    refused = 0
    begun = time.process_time()
    for _ in range(times):
        now += step
        number = acquire(now)
        if number < 0:
            refused += 1
        sent(number, now)
    took = time.process_time() - begun
    assert refused == 0
    return took / times * 1e6


def cost(repeats: int) -> list[Figure]:
    """
    What a permit costs.
    """
    values = in_turns({"permit": permit, "dumps": dumps}, repeats)
    return [
        Figure.median("throttle.permit", values["permit"], unit="µs", goal=1.0),
        Figure.median(
            "throttle.permit.dumps",
            ratios(values, "permit", "dumps"),
            against="dumps",
            goal=2.0,
        ),
    ]


def at_the_receiver(limit: int, seconds: int, repeats: int) -> list[Figure]:
    """
    What arrives when there is always more to send than the limit allows.
    """
    most = FullestSeconds()
    used: list[float] = []
    for _ in range(repeats):
        with Server(latency=0.01) as server:
            delivered, took = asyncio.run(send(server.url, limit, limit * seconds))
            times = most.note(server)
        assert delivered == len(times) == limit * seconds
        used.append(budget_used(list(times), limit, NO_OUTAGE))
    detail = f"{repeats} times {limit * seconds:,} requests in {took:.1f} s"
    return [
        Figure(
            f"throttle.fullest.{limit}",
            max(most.samples),
            unit="requests in a second",
            goal=limit,
            samples=most.samples,
            detail=detail + most.detail,
        ),
        Figure.median(
            f"throttle.used.{limit}",
            used,
            against="the limit",
            goal=0.97,
            at_most=False,
            detail=detail,
        ),
    ]


def measure(*, quick: bool, limits: tuple[int, ...] = LIMITS) -> list[Figure]:
    """
    All figures.

    Args:
        quick: Fewer repeats, and the lowest limit alone.
        limits: The limits that are tried at the receiver.
    """
    found = cost(3 if quick else 7)
    for limit in limits[:1] if quick else limits:
        found += at_the_receiver(limit, 3 if quick else SECONDS, 1 if quick else 5)
    return found


def main() -> None:
    """
    Prints the figures.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--limits", type=int, nargs="+", default=LIMITS)
    options = parser.parse_args()
    figures = measure(quick=options.quick, limits=tuple(options.limits))
    print(json.dumps([one.as_json() for one in figures]) if options.json else table(figures))


if __name__ == "__main__":
    main()
