"""
What a request costs on the wire: Freshpaint's one event for one request, to a server in a process
of its own that answers after 20 ms, and counts.

Two kinds of figures, both CPU of the sending process, taken in turns:

* ``wire.lane.*``: the transports alone, as fast as they go, without a dispatcher; against a bare
  Protocol (`benchmarks.bare`) and a ClientSession;
* ``wire.*``: the whole dispatcher at the limit of 5,000 requests a second, against a bare Protocol
  and a ClientSession that encode the same event and keep to the same limit, each with a hundred
  lines around it and no care for faults. The requests are counted at the receiver.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median
from typing import Any

import aiohttp
import orjson
import uvloop

from benchmarks.bare import Bare
from benchmarks.harness import Figure, in_turns, ratios, table
from benchmarks.load import EVENT, KEYWORDS, PROPERTIES, dispatcher, freshpaint
from benchmarks.server import FullestSeconds, Server
from sendoff._throttle import GUARD, WINDOW
from sendoff.events import Request
from sendoff.transports import fast as fast_lane
from sendoff.transports.http import HttpTransport

__all__ = ["measure"]

RATE = 5_000
WORKERS = 256
"""Enough for 5,000 requests a second of 20 ms each, with as much again in reserve."""

WARM = 3_000
"""Events with which the dispatcher opens its connections, before what is measured."""

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
Make = Callable[[], Awaitable[Any]]
One = Callable[[Any, bytes], Awaitable[object]]


def encoded(number: int) -> bytes:
    """
    Freshpaint's body of the event, as the rivals of the dispatcher make it.
    """
    fields = {
        "token": "8f14e45f-ceea-467f-ab9e-8a5a2b1f1f7f",
        "distinct_id": KEYWORDS["user_id"],
        "time": round(time.time(), 3),
        "$insert_id": f"0f4c7f6e-{number:08d}",
        "session_id": KEYWORDS["session_id"],
        **PROPERTIES,
    }
    return orjson.dumps({"properties": fields, "event": EVENT})


async def _nothing() -> None:
    """
    A worker that needs nothing of its own.
    """


async def _warm(workers: int, make: Make, one: One) -> list[Any]:
    """
    What the workers own, once each has sent a request: connections are opened once, not measured.
    """
    owned = [await make() for _ in range(workers)]
    await asyncio.gather(*(one(own, encoded(0)) for own in owned))
    return owned


async def at_full_speed(count: int, make: Make, one: One) -> float:
    """
    CPU seconds for one request, where 32 workers send one after the other.
    """
    left = count
    body = encoded(0)
    owned = await _warm(32, make, one)

    async def worker(own: object) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await one(own, body)

    begun = time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for own in owned:
            tasks.create_task(worker(own))
    return (time.process_time() - begun) / count


async def paced(count: int, make: Make, one: One) -> float:
    """
    CPU seconds for one event, from its encoding to its answer, at `RATE`: a deque, workers that
    sleep when it is empty, and a ring of the last sends, spread as the dispatcher's are.
    """
    loop = asyncio.get_running_loop()
    bodies: deque[bytes] = deque()
    ring: deque[float] = deque([-1e9] * RATE, maxlen=RATE)
    turn = asyncio.Lock()
    gap = 1 / RATE
    free_at = 0.0
    left = count
    owned = await _warm(WORKERS, make, one)

    async def worker(own: object) -> None:
        nonlocal free_at, left
        while bodies:
            async with turn:
                wait = max(ring[0] + WINDOW + GUARD, free_at) - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                now = loop.time()
                ring.append(now)
                # A millisecond's worth may go at once: timers are no finer.
                free_at = max(free_at + gap * (WINDOW + GUARD), now - 0.002)
            if not bodies:
                return
            await one(own, bodies.popleft())
            left -= 1

    begun = time.process_time()
    bodies.extend(map(encoded, range(count)))
    async with asyncio.TaskGroup() as tasks:
        for own in owned:
            tasks.create_task(worker(own))
    assert left == 0
    return (time.process_time() - begun) / count


How = Callable[[Make, One], Awaitable[float]]


async def bare(server: Server, how: How) -> float:
    """
    The floor.
    """
    client = Bare(server.url, server.context)
    try:
        return await how(client.connect, client.send)
    finally:
        await client.aclose()


async def tuned(server: Server, how: How) -> float:
    """
    A ClientSession without what it can be told to leave out.
    """
    options: dict[str, Any] = {
        "headers": HEADERS,
        "timeout": aiohttp.ClientTimeout(total=None),
        "allow_redirects": False,
        "ssl": server.context or True,
    }
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def one(_: object, body: bytes) -> None:
            async with session.post(server.url, data=body, **options) as response:
                await response.read()

        return await how(_nothing, one)


async def lane(server: Server, count: int, *, fast: bool) -> float:
    """
    One of the transport's lanes.
    """
    transport = HttpTransport()
    await transport.open()
    send = transport.send if fast else transport._session.send

    async def one(_: object, body: bytes) -> None:
        await send(Request(server.url, HEADERS, body, server.context), lambda: None)

    # All connections are opened in the warm-up, as the others' are, and not one by one behind it.
    apart, fast_lane.HANDSHAKE_SECONDS = fast_lane.HANDSHAKE_SECONDS, 0.0
    try:
        return await at_full_speed(count, _nothing, one)
    finally:
        fast_lane.HANDSHAKE_SECONDS = apart
        await transport.aclose()


async def ours(server: Server, count: int) -> float:
    """
    The dispatcher, from `track` to the answer.
    """
    there = freshpaint(
        endpoint=server.url, ssl=server.context, rate_limit=RATE, workers=WORKERS, timeout=60.0
    )
    async with dispatcher(there, transport=HttpTransport()) as sender:
        for _ in range(WARM):
            sender.track(EVENT, **KEYWORDS)
        await sender.flush()
        begun = time.process_time()
        for _ in range(count):
            sender.track(EVENT, **KEYWORDS)
        await sender.flush()
        spent = time.process_time() - begun
        assert sender.stats().destinations["freshpaint"].delivered == WARM + count
    return spent / count


def _run(loop: str, work: Callable[[], Any]) -> float:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(work())


def _raw(values: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {median(each) * 1e6:.0f} us" for name, each in values.items())


def lanes(server: Server, where: str, loop: str, *, quick: bool) -> list[Figure]:
    """
    The transports alone.
    """
    count = 500 if quick else 4_000
    how = partial(at_full_speed, count)
    values = in_turns(
        {
            "fast": lambda: _run(loop, lambda: lane(server, count, fast=True)),
            "session": lambda: _run(loop, lambda: lane(server, count, fast=False)),
            "bare": lambda: _run(loop, lambda: bare(server, how)),
            "aiohttp": lambda: _run(loop, lambda: tuned(server, how)),
        },
        2 if quick else 5,
    )
    against = "CPU a request, transport alone, against"
    return [
        Figure.median(
            f"wire.lane.{where}.{loop}.{other}",
            ratios(values, "fast", other),
            against=f"{against} {other}",
            detail=_raw(values),
        )
        for other in ("bare", "session", "aiohttp")
    ]


def dispatched(server: Server, where: str, loop: str, *, quick: bool) -> list[Figure]:
    """
    The whole dispatcher at its limit.
    """
    count = RATE if quick else 2 * RATE
    how = partial(paced, count)
    rates: list[float] = []
    most = FullestSeconds()

    def counted() -> float:
        server.reset()
        cost = _run(loop, lambda: ours(server, count))
        times = most.note(server)
        assert len(times) == WARM + count
        steady = times[WARM:]
        rates.append((len(steady) - 1) / (steady[-1] - steady[0]))
        return cost

    values = in_turns(
        {
            "ours": counted,
            "bare": lambda: _run(loop, lambda: bare(server, how)),
            "aiohttp": lambda: _run(loop, lambda: tuned(server, how)),
        },
        1 if quick else 5,
    )
    name = f"wire.{where}.{loop}"
    return [
        Figure.median(
            f"{name}.bare",
            ratios(values, "ours", "bare"),
            against="CPU an event against a bare Protocol",
            goal=1.3 if loop == "asyncio" else 1.8,
            detail=_raw(values),
        ),
        Figure.median(
            f"{name}.aiohttp",
            ratios(values, "ours", "aiohttp"),
            against="CPU an event against a ClientSession",
            goal=0.4,
        ),
        Figure.median(
            f"{name}.rate",
            rates,
            unit="req/s",
            against="at the receiver",
            goal=0.97 * RATE,
            at_most=False,
        ),
        Figure(
            f"{name}.fullest",
            max(most.samples),
            unit="req",
            against="in any second at the receiver",
            goal=RATE,
            samples=most.samples,
            detail=most.detail.removeprefix("; "),
        ),
    ]


def measure(*, quick: bool, only: str = "") -> list[Figure]:
    """
    All of it: plain and TLS, on asyncio and on uvloop.

    Args:
        quick: Few events and repeats.
        only: One of the four, such as ``plain.asyncio``; empty for all.
    """
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for where, certificates in (("plain", None), ("tls", folder)):
            for loop in LOOPS:
                if only not in ("", f"{where}.{loop}"):
                    continue
                with Server(0.0, certificates) as server:
                    figures += lanes(server, where, loop, quick=quick)
                with Server(0.02, certificates) as server:
                    figures += dispatched(server, where, loop, quick=quick)
    return figures


def main() -> int:
    """
    Measures; the exit status is 0.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", help="such as plain.asyncio")
    options = parser.parse_args()
    figures = measure(quick=options.quick, only=options.only)
    print(json.dumps([one.as_json() for one in figures]) if options.json else table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
