"""
The loop's half of a lane: from the queue to a fate, and the only owner of tasks.

Read it from top to bottom: it is the order in which an event meets the steps. Always holds: every
event taken from the queue is in a worker's hand, returned, or has its fate; a worker outlives
whatever a destination or a transport raises.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio.lowlevel import checkpoint

from sendoff._ages import Downtime, Marks
from sendoff._batcher import Batch, Batcher
from sendoff._breaker import Breaker
from sendoff._delivery import Delivery
from sendoff._intake import Intake
from sendoff._lines import REQUEST_BROKEN
from sendoff._narrow import Narrowing
from sendoff._sleepers import Sleepers
from sendoff._taking import Taking
from sendoff._throttle import Throttle
from sendoff.events import DropReason
from sendoff.observers import DestinationStats

if TYPE_CHECKING:
    from sendoff.transports.base import Transport

__all__ = ["Lane", "Spawn"]

NEVER = math.inf

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]], str], None]
"""Starts a task in the host's task group, under a name."""


class Lane:
    """
    The workers of one destination, and the steps they lead events through.

    Args:
        intake: The caller's half.
    """

    def __init__(self, intake: Intake) -> None:
        self.name = intake.name
        self.intake = intake
        self._queue = intake.queue
        self._lock = intake.lock
        self._tuning = tuning = intake.destination.tuning
        # All mutable state. The flushes are changed under the intake's lock, the rest in the loop.
        self._flushes: list[tuple[int, Callable[[], None]]] = []  # (sequence number, whom to tell)
        self._urgent = 0  # events before this sequence number do not wait for a batch to fill
        self._batcher = Batcher(
            max_bytes=tuning.max_batch_bytes,
            max_events=tuning.max_batch_events,
            linger=tuning.flush_interval,
            framing=intake.destination.framing,
        )
        self._taking = Taking(self._queue, self._lock, self._batcher)
        self._throttle = None if tuning.rate_limit is None else Throttle(tuning.rate_limit)
        self._breaker = Breaker()
        self._downtime = Downtime()
        self._marks = Marks()
        self._sleepers = Sleepers(intake, self._batcher, self._due_in, tuning.workers)
        self._rung = self._sleepers.ring
        self.refill = intake.refill(self._rung)  # None without a spool
        self._in_hand: dict[Narrowing, None] = {}
        self._returned: deque[Batch] = deque()  # taken, but cut off before a fate
        self._deadline = NEVER  # when the last flush ends
        self._loop: asyncio.AbstractEventLoop
        self._clock: Callable[[], float] = time.monotonic  # until there is a loop
        self._spawn: Spawn | None = None  # None while no task group is there
        self._delivery: Delivery
        self._drained: anyio.Event

    # --- seen from outside, any thread ------------------------------------------------------------

    def stats(self) -> DestinationStats:
        """
        The ledger at this instant.
        """
        now = self._clock()
        seen = self.intake.stats(self._breaker.state.value)
        delivered_at = self.intake.ledger.delivered_at
        with self._lock:
            oldest, tail = self._oldest(), self._queue.tail
            oldest_age = self._marks.age(oldest, tail, now)
        return replace(
            seen,
            held_seconds=self._downtime.seconds(now),
            delivery_age=None if delivered_at is None else max(0.0, now - delivered_at),
            oldest_age=oldest_age,
            rate_limit=self._tuning.rate_limit,
        )

    def when_settled(self, notify: Callable[[], None]) -> int:
        """
        Has somebody told, from the loop, when everything accepted until now has its fate.

        Returns:
            The sequence number up to which that is, for `left`.
        """
        with self._lock:
            target = self._queue.tail
            self._urgent = target
            self._flushes.append((target, notify))
        self.intake.bell.call(self._hurry)
        return target

    def forget(self, notify: Callable[[], None]) -> None:
        """
        Takes a `when_settled` back.
        """
        with self._lock:
            self._flushes = [flush for flush in self._flushes if flush[1] is not notify]

    def left(self, target: int) -> int:
        """
        Events before a sequence number that have no fate yet.
        """
        with self._lock:
            held = sum(work.events() for work in tuple(self._in_hand) if work.first < target)
            loose = (*self._returned, *self.intake.writing)
            held += sum(len(batch) for batch in loose if batch.first < target)
            return held + self._queue.before(target)

    # --- in the loop: being opened and closed by the host -----------------------------------------

    def attach(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        transport: Transport,
    ) -> None:
        """
        Makes ready to run in a loop.
        """
        self._loop = loop
        self._clock = clock
        self._deadline = NEVER
        self._drained = anyio.Event()
        self._delivery = Delivery(
            self.intake,
            self._batcher,
            self._throttle,
            self._breaker,
            self._downtime,
            transport=transport,
            clock=clock,
            hopeless=self._drained.set,
        )
        self.intake.bell.hang(loop, self._rung, self._settled)

    def start(self, spawn: Spawn) -> None:
        """
        Begins to work with what is queued and returned.
        """
        self._spawn = spawn
        self._sleepers.begin(lambda number: spawn(self._work, f"sendoff {self.name} {number}"))
        self._taking.reset()
        if self.refill is not None:
            self.refill.start(spawn, self._settled)
        self._hurry()

    async def drain(self, deadline: float) -> None:
        """
        Sends what is there without waiting for more; ends when nothing is left or nothing can be
        hoped for.

        Cancelling it, as the deadline does, leaves the rest pending.
        """
        with self._lock:
            self._deadline = deadline
            self._urgent = self._queue.tail
        self._delivery.close(deadline)
        self._hurry()
        self._settled()
        await self._drained.wait()

    def detach(self) -> None:
        """
        Lets go of the loop; what workers had in hand waits for the next one.
        """
        self.intake.unlisten()
        if self._spawn is not None:
            self._delivery.detach()
        self._spawn = None
        self._sleepers.end()
        for work in tuple(self._in_hand):
            self._put_back(work)
        with self._lock:
            flushes, self._flushes = self._flushes, []
        for _, notify in flushes:
            notify()  # `left` says how it ended

    def abandon(self) -> int:
        """
        Gives up everything pending, for `shutdown`; what is in the spool stays there.

        Returns:
            How many events that were.
        """
        given_up = 0
        if self.refill is not None:
            self._returned = deque(self.refill.park(self._returned))
        while self._returned:
            batch = self._returned.popleft()
            given_up += len(batch)
            self.intake.dropped(batch, DropReason.SHUTDOWN, *self.intake.trouble)
        for batch in self._taking.everything():
            given_up += len(batch)
            self.intake.dropped(batch, DropReason.SHUTDOWN, *self.intake.trouble)
        return given_up

    # --- in the loop: from the queue to a worker --------------------------------------------------

    async def _work(self) -> None:
        """
        One worker: takes a batch, brings it to its fate, takes the next.
        """
        task = cast("asyncio.Task[None]", asyncio.current_task())
        while True:
            now = self._clock()
            batch = self._take(now)
            if batch is None:
                await self._sleepers.doze(now)
                continue
            work = Narrowing(batch)
            self._in_hand[work] = None
            try:
                while self._taking.unfinished is batch:
                    await checkpoint()
                    self._go_on(batch, self._clock())
                await self._delivery.bring(work, task)
                self._in_hand.pop(work, None)  # all of it has its fate
            except Exception as exc:  # noqa: BLE001 a destination is somebody's code; the worker lives
                if work in self._in_hand:  # else its loop was closed and another one has the events
                    if self._taking.unfinished is batch:
                        self._taking.reset()  # else nobody would fill one any more
                    self._contain(exc, work)
            finally:
                if work in self._in_hand:
                    self._put_back(work)
                if self._flushes or self.refill is not None or self._deadline != NEVER:
                    self._settled()

    def _contain(self, exc: Exception, work: Narrowing) -> None:
        error = type(exc).__name__
        self.intake.log("internal", REQUEST_BROKEN, error)
        for part in work.give_up():
            self.intake.dropped(part, DropReason.INTERNAL, detail=f"raised {error}")

    def _put_back(self, work: Narrowing) -> None:
        # Cut off by a cancellation: perhaps sent, so it will go again under the same ids.
        del self._in_hand[work]
        self._returned.extend(work.rest())

    def _take(self, now: float) -> Batch | None:
        if self._returned:
            returned = self._returned.popleft()
            self._rung()  # there may be more: the next worker
            return returned
        batcher, batch = self._batcher, None
        with self._lock:
            queue = self._queue
            if batcher.max_events == 1 and queue.items and self._taking.unfinished is None:
                batch = batcher.one(queue)  # is always due
                if not queue.light:
                    queue.weigh()
                    queue.lighten()
            else:
                queue.weigh()
                if self._due_in(now) > 0.0:
                    return None
        if batch is None:
            batch = self._taking.begin()
            self._go_on(batch, now)
        elif self._is_more():
            self._rung()
        return batch if batch.bodies else None

    def _go_on(self, batch: Batch, now: float) -> None:
        """
        Fills a batch for one turn of the loop; when it is complete, the next worker's turn comes.
        """
        if self._taking.go_on(batch, now) and self._is_more():
            self._rung()

    def _oldest(self) -> int:
        """
        The sequence number of the oldest event without a fate; the next one's if there is none.
        Under the lock.
        """
        loose = (*self._returned, *self.intake.writing)
        firsts = [work.first for work in tuple(self._in_hand)] + [one.first for one in loose]
        return min([self._queue.head, *firsts])

    def _is_more(self) -> bool:
        queue = self._queue
        if queue.items:
            return True
        with self._lock:
            queue.light = 0
            if not queue.items and self._sleepers.is_free():
                queue.ring_events = 1  # this one is busy: the next event wakes another
            return len(queue) > 0

    def _due_in(self, now: float) -> float:
        if self._taking.unfinished is not None:
            return NEVER  # batches are filled one behind the other; the end of this one rings
        urgent = self._queue.head < self._urgent or self._deadline != NEVER
        urgent = urgent or (self.refill is not None and self.refill.held_up)
        return self._batcher.due_in(self._queue, now, urgent=urgent)

    def _hurry(self) -> None:
        self._rung()
        self._settled()

    def _settled(self) -> None:
        """
        Tells whoever waits, if what they wait for has come.
        """
        flushes, queue = self._flushes, self._queue
        least = flushes[0][0] if flushes else NEVER
        # Mostly the first worker has the oldest event: not all are asked after every event.
        if (queue.head >= least or (flushes and queue.head == queue.tail)) and all(
            work.first >= least for work in self._in_hand
        ):
            with self._lock:
                oldest: float = self._oldest()
                if oldest == queue.tail:
                    oldest = NEVER  # nothing is left: a number that was given back does not come
                ready = [notify for target, notify in self._flushes if target <= oldest]
                self._flushes = [flush for flush in self._flushes if flush[0] > oldest]
            for notify in ready:
                notify()
        if self.refill is not None and self._spawn is not None:
            self.refill.poke()
        if self._deadline != NEVER and queue.pending == 0:
            self._drained.set()
