"""
What a lane costs for each request, without a network: from the queue to the transport and back.

The transport is a fake: it says that the request is sent, waits for one future, and answers 202.
The bare loop beside it does the same with as many coroutines: takes a body, puts the token in, asks
the same transport. What is between the two is all that the lane adds: gate, throttle, breaker,
window, deadline, verdict, ledger. It is given in units of one `orjson.dumps` of the event, measured
in the same turn.

* `lane.added`: answers come in the next turn of the loop, no limit is set.
* `lane.paced`: 5,000 requests a second, answers come after 20 ms; the whole in terms of the bare
  loop, which keeps the same pace by a clock and one timer.
* `lane.idle`: processor time while there is nothing to do, after that load.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from statistics import median

import orjson

from benchmarks import load
from benchmarks.harness import Figure, command, in_turns, ratios
from sendoff import Request, Response

ANSWER = Response(202, {"content-type": "application/json"}, b"{}")
WORKERS = 128
MOST = 28
"""Times `orjson.dumps` that a lane may add: 10 µs where that takes 0.35 µs."""

RATE = 5_000
LATENCY = 0.02


class Echo:
    """
    A transport without a network.

    Args:
        latency: Seconds until the answer; 0 for the next turn of the loop.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self._latency = latency
        self.requests = 0

    async def open(self) -> None:
        """
        Has nothing to open.
        """

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        """
        One future, and one call of the loop.
        """
        loop = asyncio.get_running_loop()
        sent()
        future = loop.create_future()
        if self._latency:
            loop.call_later(self._latency, future.set_result, None)
        else:
            loop.call_soon(future.set_result, None)
        await future
        self.requests += 1
        return ANSWER

    async def aclose(self) -> None:
        """
        Has nothing to close.
        """


def lane(events: int, *, rate: int | None, latency: float) -> float:
    """
    Processor microseconds for each event that a dispatcher brings from its queue to its fate.
    """

    async def run() -> float:
        echo = Echo(latency)
        destination = load.freshpaint(rate_limit=rate, workers=WORKERS)
        async with load.dispatcher(destination, transport=echo) as dispatcher:
            await warm(dispatcher)
            for _ in range(events):
                dispatcher.track(load.EVENT, **load.KEYWORDS)
            # The calls were all made without a turn of the loop between them.
            begun = time.process_time()
            assert await dispatcher.flush()
            took = time.process_time() - begun
            assert echo.requests >= events
            return took / events * 1e6

    return asyncio.run(run())


async def warm(dispatcher: load.Dispatcher) -> None:
    """
    Has the window opened and every worker started, which is not what is measured.
    """
    for _ in range(3 * WORKERS):
        dispatcher.track(load.EVENT, **load.KEYWORDS)
    assert await dispatcher.flush()


def bare(events: int, *, rate: int | None, latency: float) -> float:
    """
    The same without a lane.
    """

    async def run() -> float:
        echo = Echo(latency)
        loop = asyncio.get_running_loop()
        token = orjson.dumps("8f14e45f-ceea-467f-ab9e-8a5a2b1f1f7f")
        rest = orjson.dumps(load.datadog_body())
        queue = deque([rest] * events)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        waiting: deque[asyncio.Future[None]] = deque()
        started = loop.time()
        gone = 0

        def tick() -> None:
            """
            Lets go who may by now: one timer for all.
            """
            nonlocal gone
            assert rate is not None
            while waiting and gone < (loop.time() - started) * rate:
                gone += 1
                waiting.popleft().set_result(None)
            if queue or waiting:
                loop.call_later(0.001, tick)

        async def work() -> None:
            while queue:
                body = queue.popleft()
                if rate is not None:
                    future = loop.create_future()
                    waiting.append(future)
                    await future
                url = "https://e.invalid/track"
                request = Request(url, headers, b"".join((b"{", token, body)))
                await echo.send(request, noted)

        def noted() -> None:
            """
            It is sent.
            """

        begun = time.process_time()
        if rate is not None:
            tick()
        await asyncio.gather(*(work() for _ in range(WORKERS)))
        return (time.process_time() - begun) / events * 1e6

    return asyncio.run(run())


def dumps(times: int = 20_000) -> float:
    """
    Processor microseconds of one `orjson.dumps` of the event's body, result dropped.
    """
    body = load.datadog_body()
    begun = time.process_time()
    for _ in range(times):
        orjson.dumps(body)
    return (time.process_time() - begun) / times * 1e6


def idle(seconds: float) -> float:
    """
    Processor milliseconds in a second of idleness, after some load.
    """

    async def run() -> float:
        destinations = load.freshpaint(workers=WORKERS), load.datadog()
        async with load.dispatcher(*destinations, transport=Echo(LATENCY)) as dispatcher:
            await warm(dispatcher)
            await asyncio.sleep(0.2)
            begun = time.process_time()
            await asyncio.sleep(seconds)
            return (time.process_time() - begun) / seconds * 1e3

    return asyncio.run(run())


def compared(
    events: int, repeats: int, *, rate: int | None, latency: float
) -> dict[str, list[float]]:
    """
    Lane, bare loop and `orjson.dumps` in turns: microseconds.
    """
    return in_turns(
        {
            "lane": lambda: lane(events, rate=rate, latency=latency),
            "bare": lambda: bare(events, rate=rate, latency=latency),
            "dumps": dumps,
        },
        repeats,
    )


def micro(values: dict[str, list[float]]) -> str:
    """
    The medians behind a ratio.
    """
    return ", ".join(f"{name} {median(each):.2f} µs" for name, each in values.items())


def measure(*, quick: bool) -> list[Figure]:
    """
    All figures.

    Args:
        quick: Fewer events and repeats.
    """
    repeats = 3 if quick else 5
    values = compared(4_000 if quick else 20_000, repeats, rate=None, latency=0.0)
    rows = zip(values["lane"], values["bare"], values["dumps"], strict=True)
    added = [(one - other) / unit for one, other, unit in rows]
    found = [Figure.median("lane.added", added, against="dumps", goal=MOST, detail=micro(values))]
    values = compared(2_500 if quick else 10_000, repeats, rate=RATE, latency=LATENCY)
    paced = ratios(values, "lane", "bare")
    found.append(Figure.median("lane.paced", paced, against="bare", goal=1.3, detail=micro(values)))
    spent = in_turns({"idle": lambda: idle(1.0 if quick else 3.0)}, 1 if quick else 3)["idle"]
    detail = "of processor time in a second of idleness"
    found.append(Figure.median("lane.idle", spent, unit="ms", goal=0.5, detail=detail))
    return found


def main() -> int:
    """
    Prints the figures.
    """
    return command(measure, __doc__)


if __name__ == "__main__":
    sys.exit(main())
