"""
Batches of 5 MB: what an event costs on its way to Datadog, and how long the loop stands still.

Three things, against a lean receiver in a process of its own:

* processor time of this process for one event, from the call to the 202, in terms of `orjson.dumps`
  of the same events and one join of the results, as one would write it by hand: ``b",".join([dumps
  (event) for event in events])``. `orjson` returns objects with a buffer of some 4 KB each, so that
  costs more than dumps and join each by itself; the figure against exact-size copies, which are
  cheaper, stands beside it. The part without the call, from the queue on, is a figure of its own;
* the longest turn of the loop while 120,000 events leave as fast as they can, with and without
  compression and over TLS, in turns with the same loop doing nothing else for the same time;
* what one large write of a TLS connection costs.

A turn is measured by a callback that calls itself again in every turn: in seconds, and in processor
seconds of the loop's thread, which other processes on the machine do not lengthen.
"""

from __future__ import annotations

import asyncio
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks import load
from benchmarks.harness import Figure, command, in_turns, ratios
from benchmarks.receiver import Receiver, certificate
from sendoff import Dispatcher

__all__ = ["measure"]

EVENTS = 120_000
BATCH = 5_000_000
STALL = 0.010
"""Seconds of one turn of the loop that nobody should notice."""

PIECE = 1 << 18
"""Bytes of one large write, as transports cut them."""


@dataclass
class Turns:
    """
    Lengths of the turns of a loop, in seconds.
    """

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """
        The longest and the 99.9th percentile, in milliseconds, and how many were stalls.
        """
        ordered = sorted(self.seconds)
        return {
            "longest": ordered[-1] * 1e3,
            "p99.9": ordered[int(len(ordered) * 0.999)] * 1e3,
            "stalls": sum(one > STALL for one in ordered),
            "processor": max(self.processor) * 1e3,
        }


async def turns_until(over: Callable[[], bool]) -> Turns:
    """
    Measures every turn of the running loop until something is so.
    """
    loop, turns = asyncio.get_running_loop(), Turns()
    ended = loop.create_future()
    moment, used = time.perf_counter(), time.thread_time()

    def turn() -> None:
        nonlocal moment, used
        turns.seconds.append(time.perf_counter() - moment)
        turns.processor.append(time.thread_time() - used)
        if over():
            ended.set_result(None)
            return
        # The clocks' own cost and the list's belong to nobody's turn.
        moment, used = time.perf_counter(), time.thread_time()
        loop.call_soon(turn)

    loop.call_soon(turn)
    await ended
    return turns


# --- processor time -------------------------------------------------------------------------------


def by_hand(events: int, *, exact: bool) -> float:
    """
    Processor seconds for one event, encoded and joined to bodies of 5 MB by hand.
    """
    body = load.datadog_body()
    each = BATCH // (len(orjson.dumps(body)) + 1)
    dumps: Callable[[Any], bytes] = (
        (lambda value: b"%b" % orjson.dumps(value)) if exact else orjson.dumps
    )
    done, begun = 0, time.process_time()
    while done < events:
        b",".join([dumps(body) for _ in range(min(each, events - done))])
        done += each
    return (time.process_time() - begun) / events


@dataclass
class Drain:
    """
    What a run of events cost, in processor seconds for one event.
    """

    call: float
    rest: float


async def _drained(dispatcher: Dispatcher, events: int) -> Drain:
    begun = time.process_time()
    for _ in range(events):
        dispatcher.track(load.EVENT, **load.KEYWORDS)
    called = time.process_time()
    await dispatcher.flush()
    ended = time.process_time()
    return Drain((called - begun) / events, (ended - called) / events)


def processor(receiver: Receiver, events: int, repeats: int) -> list[Figure]:
    """
    The cost of an event, in terms of what encoding and joining by hand costs.
    """
    calls: list[float] = []
    rests: list[float] = []
    with asyncio.Runner() as runner:
        dispatcher = load.dispatcher(load.datadog(endpoint=receiver.url), transport=None)
        runner.run(dispatcher.start())
        runner.run(_drained(dispatcher, events // 4))  # connections, and memory to be used again
        receiver.count()

        def ours() -> float:
            cost = runner.run(_drained(dispatcher, events))
            calls.append(cost.call)
            rests.append(cost.rest)
            return cost.call + cost.rest

        values = in_turns(
            {
                "ours": ours,
                "by hand": lambda: by_hand(events, exact=False),
                "exact": lambda: by_hand(events, exact=True),
            },
            repeats,
        )
        _check(receiver, events * repeats)
        runner.run(dispatcher.aclose())
    values |= {"call": calls, "rest": rests}
    medians = {name: statistics.median(costs) * 1e6 for name, costs in values.items()}
    detail = ", ".join(f"{name} {cost:.2f}" for name, cost in medians.items())
    return [
        Figure.median(
            "batches.event",
            ratios(values, "ours", "by hand"),
            against="dumps and join",
            goal=1.5,
            detail=f"us of processor for an event: {detail}",
        ),
        Figure.median(
            "batches.event_after_the_call",
            ratios(values, "rest", "by hand"),
            against="dumps and join",
        ),
        Figure.median(
            "batches.event_exact", ratios(values, "ours", "exact"), against="dumps, copy and join"
        ),
    ]


def _check(receiver: Receiver, events: int) -> None:
    arrived = receiver.count()["events"]
    if arrived != events:
        raise RuntimeError(f"{arrived} of {events} events arrived")


# --- stalls ---------------------------------------------------------------------------------------


async def _stalls(dispatcher: Dispatcher, events: int, repeats: int) -> list[tuple[Turns, Turns]]:
    pairs = []
    async with dispatcher:
        dispatcher.track(load.EVENT, **load.KEYWORDS)
        await dispatcher.flush()
        for _ in range(repeats):
            for _ in range(events):
                dispatcher.track(load.EVENT, **load.KEYWORDS)
            flush = asyncio.create_task(dispatcher.flush())
            leaving = await turns_until(flush.done)
            over = time.perf_counter() + sum(leaving.seconds)
            pairs.append((leaving, await turns_until(lambda: time.perf_counter() > over)))  # noqa: B023
    return pairs


def stalls(
    name: str, receiver: Receiver, events: int, repeats: int, **options: Any
) -> list[Figure]:
    """
    The longest turn of the loop while batches leave, in seconds and in processor seconds.
    """
    destination = load.datadog(endpoint=receiver.url, **options)
    pairs = asyncio.run(_stalls(load.dispatcher(destination, transport=None), events, repeats))
    _check(receiver, events * repeats + 1)
    leaving = [pair[0].summary() for pair in pairs]
    alone = [pair[1].summary() for pair in pairs]

    def middle(of: list[dict[str, float]], key: str) -> float:
        return statistics.median(one[key] for one in of)

    return [
        Figure.median(
            f"batches.stall.{name}",
            [one["longest"] for one in leaving],
            unit="ms",
            goal=STALL * 1e3,
            detail=(
                f"longest turn; alone {middle(alone, 'longest'):.2f}; "
                f"p99.9 {middle(leaving, 'p99.9'):.2f}, alone {middle(alone, 'p99.9'):.2f}; "
                f"turns above 10 ms {sum(one['stalls'] for one in leaving):.0f} in {repeats} runs, "
                f"alone {sum(one['stalls'] for one in alone):.0f}"
            ),
        ),
        Figure.median(
            f"batches.turn.{name}",
            [one["processor"] for one in leaving],
            unit="ms",
            goal=STALL * 1e3,
            detail=f"processor of the longest turn; alone {middle(alone, 'processor'):.2f}",
        ),
    ]


def encrypting(trust: ssl.SSLContext, path: Path, repeats: int) -> Figure:
    """
    What one large write of a TLS connection costs: the encryption, without any socket.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(to_client, to_server, server_hostname="localhost")
    peer = server.wrap_bio(to_server, to_client, server_side=True)
    shaken: set[Any] = set()
    while len(shaken) < 2:
        for side in (client, peer):
            try:
                side.do_handshake()
                shaken.add(side)
            except ssl.SSLWantReadError:
                continue
    piece, costs = bytes(PIECE), []
    for _ in range(repeats * 4):
        begun = time.perf_counter()
        client.write(piece)
        to_server.read()  # so that it does not grow
        costs.append((time.perf_counter() - begun) * 1e3)
    return Figure.median("batches.encrypt_256_kib", costs, unit="ms", detail="one write of TLS")


def measure(*, quick: bool) -> list[Figure]:
    """
    All of it.
    """
    events, repeats = (40_000, 3) if quick else (EVENTS, 5)
    with Receiver() as receiver:
        figures = processor(receiver, events, repeats)
        figures.extend(stalls("plain", receiver, events, repeats))
        figures.extend(stalls("gzip", receiver, events, repeats, compression="gzip"))
    with tempfile.TemporaryDirectory() as folder:
        path, trust = certificate(Path(folder))
        with Receiver(certificate=path) as receiver:
            figures.extend(stalls("tls", receiver, events, repeats, ssl=trust))
        figures.append(encrypting(trust, path, repeats))
    return figures


def main() -> int:
    """
    Measures and prints.
    """
    return command(measure, __doc__)


if __name__ == "__main__":
    sys.exit(main())
