"""
The measured process: one contestant, one way to run it, one line of JSON.

Run as ``python -m benchmarks.rivals.contestant`` with one JSON object of `Task`'s fields. What the
process prints is what it knows itself; what has arrived is asked of the receiver.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from benchmarks.load import PROPERTIES
from benchmarks.rivals.peers import Peer, peer_of

__all__ = ["WAYS", "Task"]

WAYS = ("calls", "whole", "held", "exit", "fork")
WARM_UP = 20
WARM_UP_HELD = 200
FORK_SECONDS = 10

Rhythm = Generator[float, None, None]
"""What a web app does: some calls, then the seconds it yields without one."""


@dataclass(frozen=True, slots=True)
class Task:
    """
    What one process does.

    Attributes:
        name: The contestant.
        way: One of `WAYS`. ``calls`` takes the time of each call at an easy pace. ``whole`` gives
            many, waits until they are sent and takes all processor time. ``held`` gives many to a
            receiver that never answers and looks at the memory. ``exit`` ends without a flush.
            ``fork`` gives, flushes and ends in a child.
        url: Of the receiver.
        events: How many.
    """

    name: str
    way: str
    url: str
    events: int


def properties_of(number: int) -> dict[str, Any]:
    """
    Properties of their own, as a handler makes them, with an order id by which they are counted.
    """
    return {
        **PROPERTIES,
        "order_id": f"ord-{number:07d}",
        "customer": {"tier": "premium", "country": "DE"},
    }


def timed(
    call: Callable[[dict[str, Any]], object],
    events: int,
    accepted: Callable[[object], bool],
    walls: list[int],
    cpus: list[int],
    count: list[int],
) -> Rhythm:
    """
    Takes the nanoseconds of each call, and those of the caller's thread in each burst.
    """
    clock, burst = time.perf_counter_ns, 50
    for first in range(0, events, burst):
        given = [properties_of(number) for number in range(first, first + burst)]
        begun_cpu = time.thread_time_ns()
        for properties in given:
            begun = clock()
            result = call(properties)
            walls.append(clock() - begun)
            # At once: a result that is kept costs its memory, which no app pays.
            count[0] += accepted(result)
        cpus.append(time.thread_time_ns() - begun_cpu)
        yield 0.02


def give(
    call: Callable[[dict[str, Any]], object],
    load: Sequence[dict[str, Any]],
    accepted: Callable[[object], bool],
    count: list[int],
    *,
    burst: int = 200,
    rest: float = 0.001,
) -> Rhythm:
    """
    Gives events and counts those that were taken.
    """
    for first in range(0, len(load), burst):
        results = [call(properties) for properties in load[first : first + burst]]
        count[0] += sum(map(accepted, results))
        yield rest


def made_and_given(peer: Peer, events: int, count: list[int]) -> Rhythm:
    """
    The same with properties that nobody else holds: what is queued is the contestant's memory.
    """
    for first in range(0, events, 50):
        for number in range(first, first + 50):
            count[0] += peer.accepted(peer.call(properties_of(number)))
        yield 0.002


def pause(seconds: float) -> Rhythm:
    """
    Time for threads and tasks to begin.
    """
    yield seconds


def nothing(properties: dict[str, Any]) -> object:
    """
    In a call's place, to see what the measuring itself takes.
    """
    return None


def _none(result: object) -> bool:
    return False


def resident() -> int:
    """
    Bytes of memory that this process holds.
    """
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def percentile(values: Sequence[float], share: float) -> float:
    """
    The value below which a share of them lies.
    """
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Run:
    """
    One contestant's way; every step awaits, and those of a contestant with threads never wait so.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.peer = peer_of(task.name)

    async def _follow(self, rhythm: Rhythm) -> None:
        for pause in rhythm:
            if self.peer.in_loop:
                await asyncio.sleep(pause)
            else:
                time.sleep(pause)  # noqa: ASYNC251 no loop runs here: see `drive`

    async def _open(self, warm_up: int = WARM_UP) -> None:
        self.peer.open(self.task.url)
        await self.peer.aopen()
        for number in range(warm_up):
            self.peer.call(properties_of(9_000_000 + number))

    async def calls(self) -> dict[str, object]:
        """
        Microseconds of a call, less those of measuring.
        """
        await self._open()
        await self.peer.aflush()
        no_walls: list[int] = []
        no_cpus: list[int] = []
        await self._follow(timed(nothing, 1_000, _none, no_walls, no_cpus, [0]))
        walls: list[int] = []
        cpus: list[int] = []
        count = [0]
        gc.collect()
        gc.freeze()
        events = self.task.events
        await self._follow(timed(self.peer.call, events, self.peer.accepted, walls, cpus, count))
        await self.peer.aflush()
        await self.peer.aclose()
        less, less_cpu = percentile(no_walls, 0.5), sum(no_cpus) / len(no_walls)
        return {
            "accepted": count[0] + WARM_UP,
            "median": (percentile(walls, 0.5) - less) / 1e3,
            "p99": (percentile(walls, 0.99) - less) / 1e3,
            "max": (max(walls) - less) / 1e3,
            "cpu": (sum(cpus) / len(walls) - less_cpu) / 1e3,
        }

    async def whole(self) -> dict[str, object]:
        """
        Processor seconds from the first call until all is sent and closed, less those of an app
        that calls nothing.
        """
        await self._open()
        await self.peer.aflush()
        load = [properties_of(number) for number in range(self.task.events)]
        gc.collect()
        gc.freeze()
        begun = time.process_time()
        await self._follow(give(nothing, load, _none, [0]))
        idle = time.process_time() - begun
        count = [0]
        begun, begun_wall = time.process_time(), time.perf_counter()
        await self._follow(give(self.peer.call, load, self.peer.accepted, count))
        await self.peer.aflush()
        await self.peer.aclose()
        return {
            "accepted": count[0] + WARM_UP,
            "cpu": time.process_time() - begun - idle,
            "seconds": time.perf_counter() - begun_wall,
        }

    async def held(self) -> NoReturn:
        """
        Bytes by which the process grew while nothing was answered.
        """
        await self._open(WARM_UP_HELD)
        await self._follow(pause(0.5))
        gc.collect()
        before = resident()
        count = [0]
        await self._follow(made_and_given(self.peer, self.task.events, count))
        gc.collect()
        print(json.dumps({"accepted": count[0], "bytes": resident() - before}), flush=True)
        os._exit(0)  # nobody will ever answer

    async def exit(self) -> dict[str, object]:
        """
        Gives, and leaves it to the contestant to notice that the program ends.
        """
        await self._open(0)
        count = [0]
        load = [properties_of(number) for number in range(self.task.events)]
        await self._follow(give(self.peer.call, load, self.peer.accepted, count))
        return {"accepted": count[0]}

    def fork(self) -> dict[str, object]:
        """
        Opens, gives one event and flushes; then a child gives many and flushes.
        """

        async def parent() -> None:
            await self._open(1)
            await self.peer.aflush()

        async def child() -> None:
            count = [0]
            load = [properties_of(number) for number in range(self.task.events)]
            await self._follow(give(self.peer.call, load, self.peer.accepted, count))
            await self.peer.aflush()
            await self.peer.aclose()

        asyncio.run(parent()) if self.peer.in_loop else drive(parent())
        pid = os.fork()
        if not pid:
            signal.alarm(FORK_SECONDS)  # kills it
            asyncio.run(child()) if self.peer.in_loop else drive(child())
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        return {"accepted": self.task.events + 1, "hung": hung, "failed": status != 0 and not hung}


def drive(coroutine: Any) -> Any:
    """
    Runs a coroutine that never waits, without an event loop.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a contestant without a loop waited for one")


def main(text: str) -> None:
    """
    Does a task and prints what came of it.
    """
    logging.basicConfig(level=logging.CRITICAL)
    task = Task(**json.loads(text))
    run = Run(task)
    if task.way == "fork":
        result = run.fork()
    else:
        way = getattr(run, task.way)
        result = asyncio.run(way()) if run.peer.in_loop else drive(way())
    print(json.dumps(result), flush=True)
    if task.way != "exit":
        os._exit(0)  # its own close has had its say; Amplitude's thread would wait 10 s more


if __name__ == "__main__":
    main(sys.argv[1])
