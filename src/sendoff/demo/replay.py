"""
The run itself: starts the sink, replays the purchases as a web app would, asks both ends what they
counted.

The shell of the demo: it alone has a clock, tasks and a process. It takes nothing but public names
from sendoff.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from sendoff import Datadog, DestinationStats, Dispatcher, Freshpaint, Retry
from sendoff.demo.compare import Account, Differences, compare
from sendoff.demo.progress import Meter
from sendoff.demo.purchases import Purchase
from sendoff.demo.screen import Screen
from sendoff.sink import Settings, SinkProcess, VendorStats
from sendoff.terminal import log_notes

__all__ = ["Outcome", "Plan", "run"]

TURN = 8
"""Events between two turns of the loop: about what a busy web app tracks in one."""

FLUSH_INTERVAL = 0.1
"""Seconds that Datadog's batches fill: short, so that there is something to see."""

RETRY = Retry(attempts=30, base=0.1, cap=0.5)
"""
Short waits, because the scripted outage is short, and more tries than it can use up: an event that
the demo gave up would be lost by design, and show nothing.
"""

OUTAGE = (
    "503 for 700ms",
    "429 first 1 retry-after 1 on datadog",
    "429 first 1 retry-after 1 on freshpaint",
    "reset first 1 on datadog",
    "reset first 2 on freshpaint",
    "reset first 50 share 0.02 on freshpaint",
)
"""
An outage, then a wish to be left alone for a second, then connections that break after the events
were accepted. By number and not by time after the beginning, so that a short run meets them all.
"""

OUTAGE_IN_WORDS = "outage: 503 for 0.7 s, 429 with Retry-After 1, resets after reading"

PATIENCE = 30.0
"""Seconds for the last events to arrive, beside what their number takes."""

SLOWEST = 500
"""Requests a second that even a slow machine makes."""

SHUTDOWN = 0.0
"""
Seconds for what the flush has left. That is nothing, unless Ctrl-C came first, which the sink may
have heard as well.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What to replay, and how.

    Attributes:
        purchases: At least one.
        faults: Whether the sink goes through an outage when a third has been given away.
        rate: Events a second; None for as fast as calls go.
    """

    purchases: Sequence[Purchase]
    faults: bool = False
    rate: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    Both counts, by destination, and by how much they differ.

    Attributes:
        ledgers: The dispatcher's.
        sinks: The stand-in's.
        differences: What comparing them gave.
        elapsed: Seconds from the first event to the last fate.
    """

    ledgers: dict[str, DestinationStats]
    sinks: dict[str, VendorStats]
    differences: dict[str, Differences]
    elapsed: float

    @property
    def agrees(self) -> bool:
        """
        Whether the two sides agree to the event.
        """
        return not any(self.differences.values())


def run(plan: Plan, screen: Screen) -> Outcome:
    """
    Replays purchases to a sink in a process of its own.

    Args:
        plan: What to replay.
        screen: What to show it on.

    Raises:
        OSError: The sink is gone.
        RuntimeError: The sink did not start.
    """
    with SinkProcess(Settings(api_key="demo", token="demo")) as sink:  # noqa: S106 the sink's own
        screen.note(f"{len(plan.purchases):,} purchases to both vendors' stand-in at {sink.url}")
        with screen:
            replay = _Replay(plan, sink, screen)
            asyncio.run(replay.run())
        counts = sink.stats()
        sinks = {"datadog": counts.datadog, "freshpaint": counts.freshpaint}
        arrived = {"datadog": sink.ids("datadog"), "freshpaint": sink.ids("freshpaint")}
    ledgers = dict(replay.dispatcher.stats().destinations)
    differences = {
        name: compare(
            Account(
                given=replay.given,
                ids=replay.ids,
                ledger=ledger,
                sink=sinks[name],
                arrived=arrived[name],
            ),
            repeats_allowed=plan.faults,
        )
        for name, ledger in ledgers.items()
    }
    return Outcome(ledgers=ledgers, sinks=sinks, differences=differences, elapsed=replay.elapsed)


class _Replay:
    """
    One run against a sink that listens.
    """

    def __init__(self, plan: Plan, sink: SinkProcess, screen: Screen) -> None:
        self._plan = plan
        self._sink = sink
        self._screen = screen
        events = len(plan.purchases)
        self.dispatcher = Dispatcher(
            Datadog(
                api_key="demo",
                application_id="demo",
                endpoint=sink.datadog_endpoint,
                id_attribute="insert_id",  # by which the sink tells duplicates
                flush_interval=FLUSH_INTERVAL,
                retry=RETRY,
            ),
            Freshpaint(token="demo", endpoint=sink.freshpaint_endpoint, retry=RETRY),  # noqa: S106
            # Room for all: what is given away at once must wait for 5,000 requests a second.
            max_queue_events=events,
            max_queue_bytes=1_024 * events,
            shutdown_timeout=SHUTDOWN,
        )
        # All mutable state, beside the dispatcher's.
        self.given = 0
        self.ids: list[str] = []
        self.elapsed = 0.0

    async def run(self) -> None:
        """
        Gives all purchases away, and waits for their fates. Cancelling it loses what has none yet.
        """
        loop = asyncio.get_running_loop()
        with log_notes(self._screen):
            async with self.dispatcher, anyio.create_task_group() as tasks:
                began = loop.time()
                tasks.start_soon(self._watch, began)
                await self._feed(began)
                await self.dispatcher.flush(PATIENCE + self.given / SLOWEST)
                self.elapsed = loop.time() - began
                tasks.cancel_scope.cancel()

    async def _feed(self, began: float) -> None:
        loop = asyncio.get_running_loop()
        outage_at = len(self._plan.purchases) // 3 if self._plan.faults else None
        rate = self._plan.rate
        for index, purchase in enumerate(self._plan.purchases):
            if index == outage_at:
                await asyncio.to_thread(self._sink.faults, *OUTAGE)
                self._screen.note(OUTAGE_IN_WORDS)
            event_id = self.dispatcher.track(
                "Purchase", user_id=purchase.customer_id, properties=purchase.properties
            )
            self.given += 1
            if event_id is not None:
                self.ids.append(event_id)
            if rate is not None:
                await asyncio.sleep(max(0.0, began + self.given / rate - loop.time()))
            elif self.given % TURN == 0:
                await asyncio.sleep(0)

    async def _watch(self, began: float) -> None:
        loop = asyncio.get_running_loop()
        total = len(self._plan.purchases)
        meters = {name: Meter(name, total, began) for name in self.dispatcher.stats().destinations}
        try:
            while True:
                await asyncio.sleep(self._screen.interval)
                self._show(meters, loop.time() - began, loop.time())
        finally:
            self._show(meters, loop.time() - began, loop.time())

    def _show(self, meters: dict[str, Meter], elapsed: float, now: float) -> None:
        ledgers = self.dispatcher.stats().destinations
        self._screen.update([meters[name].read(ledgers[name], now) for name in meters], elapsed)
