"""
What a call costs its caller, in terms of one `orjson.dumps` of the same event with the result
dropped.

No loop runs, unless a figure says so. Each sample queues a bounded number of events: ``warm`` ones
into a new dispatcher, so that memory is used again that earlier samples gave back; ``growing`` ones
behind those of all earlier samples, so that every event takes new memory. The garbage collector is
on, as in an application. Processor time of the process, so that neighbours do not show; single
calls and threads are timed by the clock on the wall.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import orjson

from benchmarks.harness import Figure, command, cpu_seconds, in_turns, quiet, ratios
from benchmarks.load import EVENT, KEYWORDS, datadog, datadog_body, dispatcher, freshpaint
from sendoff import Dispatcher, MemoryTransport, Request, Response

EVENTS, QUICK_EVENTS = 20_000, 4_000
"""Of a sample; what is queued of it is thrown away before the next one."""

SINGLE_CALLS = 20_000
WARM_UP = 200
THREADS = 4
SLICE = 200
"""Calls in a running loop between two of its turns."""

ONE, BOTH = 5.0, 8.0
TAIL = 4.0

USER, SESSION = KEYWORDS["user_id"], KEYWORDS["session_id"]
PROPERTIES = KEYWORDS["properties"]

RICH: dict[str, Any] = {
    "amount": Decimal("149.99"),
    "placed_at": datetime(2025, 3, 1, 12, 30, tzinfo=UTC),
    "customer": {"tier": "premium", "address": {"country": "DE", "tags": ["a", "b", "c"]}},
    "items": [
        {"sku": f"sku-{number}", "price": Decimal("9.99"), "count": number} for number in range(10)
    ],
    "note": "thank you " * 100,
}
"""Properties with values that JSON does not know, nested and some 2 KB large."""


class Nowhere:
    """
    A transport that says yes and keeps nothing.

    Args:
        latency: Seconds until it does.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self._latency = latency

    async def open(self) -> None:
        """
        There is nothing to open.
        """

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        """
        Answers.
        """
        sent()
        await asyncio.sleep(self._latency)
        return Response(202, body=b"{}")

    async def aclose(self) -> None:
        """
        There is nothing to close.
        """


class Filled(AbstractContextManager["Filled"]):
    """
    A dispatcher that is warmed up, and is emptied in the end.

    Args:
        destinations: Its own.
        options: The dispatcher's.
    """

    def __init__(self, *destinations: Any, **options: Any) -> None:
        self.dispatcher = dispatcher(*destinations, **options)
        for _ in range(WARM_UP):
            self.dispatcher.track(EVENT, user_id=USER, session_id=SESSION, properties=PROPERTIES)

    def __enter__(self) -> Self:
        """
        There is nothing left to begin.
        """
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Gives up what is queued.
        """
        asyncio.run(self.dispatcher.aclose(0))

    def accepted(self, count: int) -> None:
        """
        Makes sure that what was measured are calls that take an event.
        """
        for name, stats in self.dispatcher.stats().destinations.items():
            assert stats.pending == count + WARM_UP, (name, stats)


def tracking(target: Dispatcher, count: int) -> None:
    """
    So many calls, as an application writes them.
    """
    track = target.track
    for _ in range(count):
        track(EVENT, user_id=USER, session_id=SESSION, properties=PROPERTIES)


def dumping(body: object, count: int, default: Callable[[Any], Any] | None = None) -> None:
    """
    What it is measured against.
    """
    dumps = orjson.dumps
    if default is not None:
        for _ in range(count):
            dumps(body, default)
    else:
        for _ in range(count):
            dumps(body)


def body_of(destination: Any) -> dict[str, Any]:
    """
    What has to be encoded for a destination that sends events one by one: its request, decoded.
    """
    transport = MemoryTransport()

    async def send() -> None:
        async with dispatcher(destination, transport=transport) as target:
            tracking(target, 1)

    asyncio.run(send())
    (request,) = transport.requests
    found = orjson.loads(request.body)
    assert isinstance(found, dict)
    return found


def warm(
    call: Callable[[Dispatcher, int], None],
    count: int,
    *destinations: Callable[[], Any],
    **options: Any,
) -> float:
    """
    Processor seconds of one call, into a dispatcher of its own.
    """
    with Filled(*(make() for make in destinations), **options) as filled:
        taken = cpu_seconds(lambda: call(filled.dispatcher, count))
        filled.accepted(count)
    return taken / count


def single_calls(count: int, *destinations: Callable[[], Any]) -> list[int]:
    """
    Nanoseconds of each of so many calls, without what reading the clock takes; sorted.
    """
    clock = time.perf_counter_ns
    with Filled(*(make() for make in destinations)) as filled:
        track = filled.dispatcher.track
        taken, idle = [0] * count, [0] * count
        for number in range(count):
            begun = clock()
            track(EVENT, user_id=USER, session_id=SESSION, properties=PROPERTIES)
            taken[number] = clock() - begun
            begun = clock()
            idle[number] = clock() - begun
        filled.accepted(count)
    cost = statistics.median(idle)
    return sorted(max(one - cost, 0) for one in taken)


def in_a_loop(count: int) -> float:
    """
    Processor seconds of one call in a running loop whose workers are at work.
    """

    async def give() -> float:
        taken = 0.0
        async with dispatcher(
            datadog(max_batch_events=10), freshpaint(), transport=Nowhere(0.02)
        ) as target:
            for _ in range(count // SLICE):
                begun = time.process_time()
                tracking(target, SLICE)
                taken += time.process_time() - begun
                await asyncio.sleep(0)
            await target.aclose(0)
        return taken

    return asyncio.run(give()) / (count // SLICE * SLICE)


def in_threads(count: int) -> float:
    """
    Seconds of one call while several threads do nothing but call.
    """
    with Filled(datadog()) as filled:
        gate = threading.Barrier(THREADS + 1)

        def give() -> None:
            gate.wait()
            tracking(filled.dispatcher, count // THREADS)
            gate.wait()

        threads = [threading.Thread(target=give) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        gate.wait()
        begun = time.perf_counter()
        gate.wait()
        taken = time.perf_counter() - begun
        for thread in threads:
            thread.join()
        filled.accepted(count // THREADS * THREADS)
    return taken / count


def on_the_wall(run: Callable[[], object]) -> float:
    """
    Seconds that go by.
    """
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _identifying(target: Dispatcher, count: int) -> None:
    for _ in range(count):
        target.identify(USER, PROPERTIES)


def _enqueueing(target: Dispatcher, count: int) -> None:
    body = datadog_body()
    for _ in range(count):
        target.enqueue(body)


def _tracking_rich(target: Dispatcher, count: int) -> None:
    for _ in range(count):
        target.track(EVENT, user_id=USER, session_id=SESSION, properties=RICH)


def measure(*, quick: bool) -> list[Figure]:
    """
    All of it; warm figures but for the two that are called growing.
    """
    quiet()  # of what is given up between samples
    count = QUICK_EVENTS if quick else EVENTS
    repeats = 5 if quick else 9
    own, other = datadog_body(), body_of(freshpaint())
    rich = {**own, **RICH}
    growing = {
        "growing.datadog": Filled(datadog()),
        "growing.both": Filled(datadog(), freshpaint()),
    }
    values = in_turns(
        {
            "dumps.datadog": lambda: cpu_seconds(lambda: dumping(own, count)) / count,
            "dumps.freshpaint": lambda: cpu_seconds(lambda: dumping(other, count)) / count,
            "dumps.rich": lambda: cpu_seconds(lambda: dumping(rich, count // 10, str)) * 10 / count,
            "dumps.wall": lambda: on_the_wall(lambda: dumping(own, count)) / count,
            "datadog": lambda: warm(tracking, count, datadog),
            "freshpaint": lambda: warm(tracking, count, freshpaint),
            "both": lambda: warm(tracking, count, datadog, freshpaint),
            "identify": lambda: warm(_identifying, count, freshpaint),
            "enqueue": lambda: warm(_enqueueing, count, datadog),
            "rich": lambda: warm(_tracking_rich, count // 10, datadog),
            "before_send": lambda: warm(tracking, count, datadog, before_send=lambda event: event),
            "in_a_loop": lambda: in_a_loop(count),
            "in_threads": lambda: in_threads(count),
            **{
                name: lambda one=one: cpu_seconds(lambda: tracking(one.dispatcher, count)) / count
                for name, one in growing.items()
            },
        },
        repeats,
    )
    for filled in growing.values():
        filled.accepted(repeats * count)
        filled.__exit__(None, None, None)
    medians = {name: statistics.median(taken) * 1e6 for name, taken in values.items()}

    def figure(name: str, to: str, against: str, goal: float | None = None) -> Figure:
        detail = f"measured {medians[name]:.2f} µs by {medians[to]:.2f} µs"
        return Figure.median(
            f"enqueue.{name}", ratios(values, name, to), against=against, goal=goal, detail=detail
        )

    one = "one dumps of the Datadog body"
    return [
        figure("datadog", "dumps.datadog", one, ONE),
        figure("freshpaint", "dumps.freshpaint", "one dumps of the Freshpaint body", ONE),
        figure("both", "dumps.datadog", one, BOTH),
        figure("growing.datadog", "dumps.datadog", one),
        figure("growing.both", "dumps.datadog", one),
        *tails(repeats, quick=quick),
        figure("identify", "dumps.datadog", one),
        figure("enqueue", "dumps.datadog", one),
        figure("rich", "dumps.rich", "one dumps of that body with str for what JSON lacks"),
        figure("before_send", "dumps.datadog", one),
        figure("in_a_loop", "dumps.datadog", f"{one}; to both, workers busy"),
        figure("in_threads", "dumps.wall", f"{one}; {THREADS} threads, to Datadog"),
    ]


def tails(repeats: int, *, quick: bool) -> list[Figure]:
    """
    How much longer the slowest calls in a hundred take than the median one.
    """
    count = SINGLE_CALLS // 4 if quick else SINGLE_CALLS
    runs = {"datadog": (datadog,), "freshpaint": (freshpaint,), "both": (datadog, freshpaint)}
    calls: dict[str, list[list[int]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, destinations in runs.items():
            calls[name].append(single_calls(count, *destinations))
    return [
        Figure.median(
            f"enqueue.{name}.p99",
            [one[count * 99 // 100] / one[count // 2] for one in taken],
            against="the median call",
            goal=TAIL if name != "both" else None,
            detail=(
                f"measured p50 {statistics.median(one[count // 2] for one in taken) / 1e3:.2f} µs, "
                f"p99.9 {statistics.median(one[count * 999 // 1000] for one in taken) / 1e3:.1f} µs"
            ),
        )
        for name, taken in calls.items()
    ]


def main() -> int:
    """
    The command line.
    """
    return command(measure, __doc__)


if __name__ == "__main__":
    sys.exit(main())
