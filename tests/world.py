"""
A dispatcher and its two vendors, with books of their own: what calls gave, what vendors took.

Nothing here asks the dispatcher what it did: the vendors note what they process and what they
answer, the caller notes what was given and what `on_drop` showed, and `World.check` compares these
books with the dispatcher's. Everything runs in one thread on a virtual clock, worker threads
included, so that what fails can be shrunk and run again.
"""

from __future__ import annotations

import asyncio
import errno
import json
import math
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import anyio.to_thread

from sendoff import (
    Dispatcher,
    DroppedEvent,
    MemoryTransport,
    Outcome,
    Request,
    Response,
    TransportError,
)
from virtual import VirtualLoop, datadog, events_of, freshpaint

NAMES = ("datadog", "freshpaint")

LONG = 400.0
"""Virtual seconds of a slow answer, beyond every timeout in use."""

FAULTS = (
    "ok",
    "503",
    "429",
    "401",
    "400",
    "413",
    "html",
    "connect",
    "reset before",
    "reset",
    "hang",
    "hang, processed",
    "slow",
    "slow, processed",
    "raises",
)
"""What a vendor may do to a request; "processed" and "reset" take the events and do not say so."""


@contextmanager
def worker_threads_in_place() -> Iterator[None]:
    """
    What goes to a worker thread runs in the loop's, between two turns: time cannot jump meanwhile.
    """

    async def in_place(call: Callable[..., Any], *args: Any, **_: Any) -> Any:
        await asyncio.sleep(0)
        result = call(*args)
        await asyncio.sleep(0)
        return result

    real, anyio.to_thread.run_sync = anyio.to_thread.run_sync, in_place
    try:
        yield
    finally:
        anyio.to_thread.run_sync = real


def id_of(event: Mapping[str, Any]) -> str:
    """
    The id that an event carries, in either vendor's form.
    """
    return event.get("insert_id") or event["properties"]["$insert_id"]


class Vendor:
    """
    One vendor's book, over all processes that ever sent to it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.mode = "ok"
        self.next: deque[str] = deque()  # for the next requests, before `mode` holds again
        self.seen: dict[str, Any] = {}  # id -> event, also of requests that were refused
        self.processed: Counter[str] = Counter()


class Life:
    """
    One process: a dispatcher, its caller's book, and what it was answered.
    """

    def __init__(self, world: World, options: Mapping[str, Any]) -> None:
        self.world = world
        self.options = options
        self.transport = Line(self)
        self.alive = True
        self.failures: list[str] = []
        self.closed: bool | None = False  # None: starts and closes overlap, either may be true
        self.calls = dict.fromkeys(NAMES, 0)
        self.rejections: dict[str, Counter[str]] = {name: Counter() for name in NAMES}
        self.given: dict[str, dict[str, None]] = {name: {} for name in NAMES}
        self.nameless = dict.fromkeys(NAMES, 0)  # overflowed at the call, which then tells no id
        self.acked: dict[str, dict[str, None]] = {name: {} for name in NAMES}
        self.dropped: dict[str, dict[str, str]] = {name: {} for name in NAMES}
        self.told: dict[str, set[str]] = {name: set() for name in NAMES}  # to have their fate
        self.sent_at: dict[str, list[float]] = {name: [] for name in NAMES}
        self.shaky: dict[str, None] = {}  # ids that the disk perhaps did not take
        self.spoiled = False  # the disk was at fault once: fates may not be on it
        both = options["both"]
        self.dispatcher = Dispatcher(
            datadog(id_attribute="insert_id", flush_interval=0.5, **both, **options["datadog"]),
            freshpaint(**both),
            handle_sigterm=False,
            on_drop=self.on_drop,
            on_outcome=self.on_outcome,
            transport=self.transport,
            **options["dispatcher"],
        )

    # --- what the dispatcher calls ----------------------------------------------------------------

    def on_drop(self, reason: str, events: Sequence[DroppedEvent]) -> None:
        if not self.alive:
            return
        for event in events:
            name, event_id = event.destination, event.id
            if event_id not in self.given[name] and event_id not in self.world.inherited[name]:
                self.nameless[name] -= 1
                self.require(self.nameless[name] >= 0, f"{name} dropped {event_id}, never given")
            self.require(event_id not in self.acked[name], f"{name} dropped {event_id}, delivered")
            self.require(event_id not in self.dropped[name], f"{name} dropped {event_id} twice")
            self.world.look(name, event_id, json.loads(event.body))
            self.dropped[name][event_id] = reason

    def on_outcome(self, outcome: Outcome) -> None:
        if not self.alive:
            return
        name = outcome.destination
        for event_id in outcome.ids:
            self.require(event_id not in self.told[name], f"{name}: {event_id} has two fates")
            arrived = event_id in self.acked[name]
            self.require(arrived == (outcome.fate == "delivered"), f"{name}: {outcome} is wrong")
            self.told[name].add(event_id)

    def sent(self, request: Request) -> None:
        """
        A request goes on its way; the vendor sees it in a later turn, which may be long after.
        """
        name = _vendor_of(request)
        times = self.sent_at[name]
        times.append(asyncio.get_running_loop().time())
        limit = self.options["both"]["rate_limit"]
        if limit is not None and len(times) > limit:
            self.require(times[-1] - times[-1 - limit] >= 1.0, f"{name}: too many in a second")

    async def answer(self, request: Request) -> Response:
        if not self.alive:
            return Response(202, body=b"{}")
        name = _vendor_of(request)
        vendor = self.world.vendors[name]
        events = events_of(request)
        ids = [id_of(event) for event in events]
        self._judge(name, request, events, ids)
        fault = vendor.next.popleft() if vendor.next else vendor.mode
        poisoned = any("poison" in str(event) for event in events)
        if fault in ("reset", "hang, processed", "slow, processed") and not poisoned:
            vendor.processed.update(ids)
        match fault:
            case "503" | "401" | "400":
                return Response(int(fault), body=b"{}")
            case "413" if len(request.body) > self.options["small"]:
                return Response(413, body=b"{}")
            case "429":
                return Response(429, {"retry-after": "2"})
            case "html":
                return Response(200, {"content-type": "text/html"}, b"<html>Sign in</html>")
            case "connect":
                raise TransportError("connect", perhaps_sent=False)
            case "reset before" | "reset":
                raise TransportError("disconnected", perhaps_sent=True)
            case "hang" | "hang, processed":
                await asyncio.sleep(LONG)
            case "slow" | "slow, processed":
                await asyncio.sleep(0.7)
            case "raises":
                raise ZeroDivisionError
        if poisoned:
            return Response(400, body=b"{}")
        if "processed" not in fault:
            vendor.processed.update(ids)
        for event_id in ids:
            twice = event_id in self.acked[name]
            self.require(not twice, f"{name} was told twice that {event_id} has arrived")
            self.acked[name][event_id] = None
        return Response(202, body=b"{}")

    def _judge(self, name: str, request: Request, events: list[Any], ids: list[str]) -> None:
        """
        What holds for every request, whatever becomes of it.
        """
        for event_id, event in zip(ids, events, strict=True):
            given = event_id in self.given[name] or event_id in self.world.inherited[name]
            self.require(given, f"{name} got {event_id}, never given")
            again = event_id in self.acked[name] or event_id in self.world.settled[name]
            self.require(not again, f"{name} got {event_id} again, which had its fate")
            self.require(event_id not in self.dropped[name], f"{name} got {event_id}, dropped")
            self.world.look(name, event_id, event)
        self.require(len(set(ids)) == len(ids), f"{name} got one event twice in a body")
        most, largest = 1, 10_000
        if name == "datadog":
            most = self.options["datadog"]["max_batch_events"] or 1_000
            largest = self.options["datadog"]["max_batch_bytes"]
        self.require(len(request.body) <= largest, f"{name}: body too large")
        self.require(len(ids) <= most, f"{name}: too many events in a body")
        self.check()

    # --- what the caller does ---------------------------------------------------------------------

    def call(self, kind: str, number: int, to: str | None) -> None:
        """
        One call, noted for every destination it is meant for.
        """
        names = NAMES if to is None else (to,)
        text = {"large": "x" * 150_000, "poison": "poison"}.get(kind, "x" * (number * 37 % 211))
        own_id = f"own-{number}"
        why = dict.fromkeys(names, "")
        before = self.dispatcher.stats().destinations
        match kind:
            case "identify":
                names = tuple(name for name in names if name == "freshpaint")
                event_id = self.dispatcher.identify(f"u-{number}", {"text": text}, to=to)
                own_id = event_id or ""
            case "payload":
                names = (to or NAMES[number % 2],)
                event_id = self.dispatcher.enqueue(self._payload(names[0], own_id, text), to=to)
            case "nobody":
                why = dict.fromkeys(names, "missing_identity")
                event_id = self.dispatcher.track("e", insert_id=own_id, to=to)
            case "device":
                why = {"datadog": "missing_identity", "freshpaint": ""}
                event_id = self.dispatcher.track("e", device_id="d", insert_id=own_id, to=to)
            case "no mapping":
                why = dict.fromkeys(names, "invalid_payload")
                event_id = self.dispatcher.enqueue(["no mapping"], to=to)  # type: ignore[arg-type]
            case _:
                if kind == "large":
                    why = dict.fromkeys(names, "too_large")
                properties = {"text": text, "n": number}
                event_id = self.dispatcher.track(
                    "e", user_id="u", properties=properties, insert_id=own_id, to=to
                )
        after = self.dispatcher.stats().destinations
        taken = 0
        for name in names:
            self.calls[name] += 1
            reason = why[name]
            if not reason and self.closed is not False:
                closed = after[name].rejections.get("closed", 0)
                said = closed > before[name].rejections.get("closed", 0)
                self.require(said or not self.closed, f"{name} took an event when closed")
                reason = "closed" if said else ""
            if reason:
                self.rejections[name][reason] += 1
                continue
            taken += 1
            if own_id:
                self.given[name][own_id] = None
                if self.world.disk.is_shaky():
                    self.shaky[own_id] = None
            else:
                self.nameless[name] += 1
        if event_id is not None:
            self.require(taken > 0, f"{kind} was taken by nobody and has an id")
            self.require(event_id == own_id, f"{kind} has another id than its own")

    @staticmethod
    def _payload(name: str, own_id: str, text: str) -> dict[str, Any]:
        if name == "freshpaint":
            return {
                "event": "e",
                "properties": {"distinct_id": "u", "$insert_id": own_id, "text": text},
            }
        return {
            "application": {"id": "app"},
            "event": {"name": "e"},
            "type": "server",
            "usr": {"id": "u"},
            "insert_id": own_id,
            "text": text,
        }

    def call_in_thread(self, kind: str, number: int, to: str | None) -> None:
        thread = threading.Thread(target=self.call, args=(kind, number, to))
        thread.start()
        thread.join()

    # --- the comparison ---------------------------------------------------------------------------

    def require(self, holds: bool, what: str) -> None:
        """
        Notes what does not hold: raised here, it would be contained as a vendor's or a callback's.
        """
        if not holds:
            self.failures.append(what)

    def check(self) -> None:
        """
        What holds at every instant.
        """
        limits = self.options["dispatcher"]
        for name, one in self.dispatcher.stats().destinations.items():
            dropped = Counter(self.dropped[name].values())
            recovered = getattr(one, "recovered", 0)
            for holds, what in (
                (one.submitted == self.calls[name] + recovered, "submitted is not the calls"),
                (dict(one.rejections) == +self.rejections[name], "rejections differ"),
                (one.delivered == len(self.acked[name]), "delivered is not what was answered"),
                (dropped <= Counter(one.dropped), "on_drop saw what is not counted"),
                (0 <= one.in_flight <= one.pending, "in flight is not a part of pending"),
                (
                    "spool" in limits
                    or (
                        one.pending <= limits["max_queue_events"]
                        and one.pending_bytes <= limits["max_queue_bytes"]
                    ),
                    "the bounds are passed",
                ),
            ):
                if not holds:
                    self.failures.append(f"{name}: {what}: {one}, {self.calls[name]} calls")

    def pending(self) -> int:
        """
        Events that the dispatcher says have no fate yet.
        """
        return sum(one.pending for one in self.dispatcher.stats().destinations.values())

    def recovered(self) -> int:
        """
        Events that were taken over from the lives before.
        """
        ledgers = self.dispatcher.stats().destinations.values()
        return sum(getattr(one, "recovered", 0) for one in ledgers)


class Disk:
    """
    What the spool's files see of the system: `os`, but for writes that fail; and its clock.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.fault = ""  # "full": nothing is written; "short": only a part
        self.faulty_until = -math.inf

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, fd: int, data: bytes) -> int:
        if self.fault == "full":
            raise OSError(errno.ENOSPC, "full")
        return os.write(fd, data[: len(data) // 2] if self.fault == "short" else data)

    def monotonic(self) -> float:
        return self._world.loop.time()

    def turn_to(self, fault: str) -> None:
        if self.fault:
            # The spool tries again after a second.
            self.faulty_until = self.monotonic() + 1.0
        self.fault = fault
        if fault:
            self._world.life.spoiled = True

    def is_shaky(self) -> bool:
        """
        Whether an event that is given now may be in memory alone.
        """
        return bool(self.fault) or self.monotonic() <= self.faulty_until


def _vendor_of(request: Request) -> str:
    return "datadog" if "datadog" in request.url else "freshpaint"


class Line(MemoryTransport):
    """
    A transport that may fail to open.
    """

    def __init__(self, life: Life) -> None:
        super().__init__(life.answer)
        self._life = life
        self.broken = 0  # openings that will fail

    async def open(self) -> None:
        if self.broken:
            self.broken -= 1
            raise OSError
        await super().open()

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        if self._life.alive:
            self._life.sent(request)
        return await super().send(request, sent)


class World:
    """
    The vendors, the loop, and the process that lives.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.vendors = {name: Vendor(name) for name in NAMES}
        # Of the lives before: what they gave, what of it had its fate, and what may be missing.
        self.inherited: dict[str, dict[str, None]] = {name: {} for name in NAMES}
        self.settled: dict[str, dict[str, None]] = {name: {} for name in NAMES}
        self.arrived: dict[str, set[str]] = {name: set() for name in NAMES}
        self.excused: dict[str, set[str]] = {name: set() for name in NAMES}
        self.unseen = dict.fromkeys(NAMES, 0)  # given up, and not yet shown to `on_drop`
        self.lives = 0
        self.number = 0
        self.loop = self.new_loop(0.0)
        self.tasks: list[asyncio.Task[Any]] = []
        self.disk = Disk(self)
        self.life = Life(self, options)

    def next_life(self, options: Mapping[str, Any]) -> None:
        """
        The process is no more: the next one begins with what its files hold at this instant.

        Args:
            options: As the last one's, but for the spool's path, which leads to a copy.
        """
        old = self.life
        for name, one in old.dispatcher.stats().destinations.items():
            acked, dropped = old.acked[name], old.dropped[name]
            self.inherited[name] |= old.given[name]
            self.arrived[name] |= acked.keys()
            self.excused[name] |= old.shaky.keys() | dropped.keys()
            self.unseen[name] += sum(one.dropped.values()) - len(dropped)
            if old.spoiled:
                self.settled[name].clear()  # what was noted of fates is perhaps not on disk
            else:
                self.settled[name] |= acked | dict.fromkeys(dropped)
        old.alive = False
        self.cut_loop()
        # What it still does, nobody sees; it must not wait for the end of this process.
        other = self.new_loop(self.loop.time())
        with asyncio.Runner(loop_factory=lambda: other) as runner:
            runner.run(old.dispatcher.aclose(1_000))
        self.loop.catch_up(other.time())
        self.lives += 1
        self.life = Life(self, options)
        self.life.spoiled = bool(self.disk.fault)

    def look(self, name: str, event_id: str, event: Any) -> None:
        """
        Equal ids have equal bodies, wherever they are seen; Freshpaint's token joins them late.
        """
        event.get("properties", {}).pop("token", None)
        first = self.vendors[name].seen.setdefault(event_id, event)
        self.life.require(first == event, f"{name}: {event_id} has two bodies")

    def check(self) -> None:
        """
        Raises if anything does not hold, or did not since the last time.
        """
        self.life.check()
        assert not self.life.failures, self.life.failures[:3]

    # --- the loop ---------------------------------------------------------------------------------

    @staticmethod
    def new_loop(now: float) -> VirtualLoop:
        """
        One that goes on at a time, and waits for no thread: there are none.
        """
        return VirtualLoop(now, patience=0.02)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def background(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.tasks.append(self.loop.create_task(coroutine))

    def busy(self) -> bool:
        """
        Whether a start, flush or close is still under way.
        """
        self.tasks = [task for task in self.tasks if not task.done()]
        return bool(self.tasks)

    def end_loop(self) -> float:
        """
        Ends the loop as `asyncio.run` does; the virtual seconds that took.
        """
        begun = self.loop.time()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.run(_all(tasks))
        self.run(self.loop.shutdown_asyncgens())
        took = self.loop.time() - begun
        self.cut_loop()
        return took

    def cut_loop(self) -> None:
        """
        Closes the loop under everything that runs in it; the next one begins.
        """
        now = self.loop.time()
        self.loop.close()
        self.tasks.clear()
        self.loop = self.new_loop(now)


async def _all(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
