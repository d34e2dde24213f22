"""
One destination's way from the call to a fate; the only owner of tasks and of the steps' state.

Read it from top to bottom: it is the order in which an event meets the steps. The first part runs
in the caller's thread, whichever that is, and takes nothing but one short lock. The second runs in
the loop.

Always holds: every accepted event is in the queue, in a worker's hand, returned, or counted in the
ledger under one fate; whatever those parts share is changed under the lock, which nobody holds
while encoding, logging or waiting.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from sendoff._batcher import Batch, Batcher
from sendoff._breaker import Breaker, BreakerState
from sendoff._encode import Encoder
from sendoff._gate import Gate
from sendoff._ledger import Ledger
from sendoff._narrow import Narrowing
from sendoff._queue import EventQueue, Evicted
from sendoff._retry import Backoff, floor_of
from sendoff._throttle import Throttle
from sendoff.destinations.base import Destination, compressed, verdict_of_failure
from sendoff.errors import EventRejected, TransportError
from sendoff.events import Action, DroppedEvent, DropReason, Event, Request, Verdict
from sendoff.observers import DestinationStats, LogDamper

if TYPE_CHECKING:
    import asyncio

    from sendoff._hook import DropHook
    from sendoff.options import Overflow
    from sendoff.transports.base import Transport

__all__ = ["Lane"]

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]], str], None]
"""Starts a task in the host's task group, under a name."""

COMPRESS_IN_THREAD = 32 * 1024
"""
Bytes above which a body is compressed in a worker thread: below, the hand-over costs more than it
saves.
"""

NEVER = math.inf

logger = logging.getLogger("sendoff")


class Lane:
    """
    The lane of one destination.

    Args:
        destination: The adapter.
        max_events: Most events held.
        max_bytes: Most bytes held.
        overflow: Which event goes when a new one does not fit.
        hook: Where given-up events go, if the user wants to see them.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        max_events: int,
        max_bytes: int,
        overflow: Overflow,
        hook: DropHook | None,
    ) -> None:
        tuning = destination.tuning
        self.name = destination.name
        self.destination = destination
        self._encode = destination.encode
        self._retry = tuning.retry
        self._timeout = tuning.timeout
        self._max_event = min(tuning.max_batch_bytes, max_bytes)
        self._hook = hook

        # All mutable state. Shared by all threads, under the lock (re-entrant, for calls from
        # signal handlers):
        self._lock = threading.RLock()
        self._queue = EventQueue(max_events=max_events, max_bytes=max_bytes, overflow=overflow)
        self._ledger = Ledger()
        self._damper = LogDamper()
        self._closed = False
        self._ring_events: float = (
            NEVER  # a call that finds this many events or bytes queued rings the loop
        )
        self._ring_bytes: float = NEVER
        self._flushes: list[
            tuple[int, Callable[[], None]]
        ] = []  # (sequence number to reach, whom to tell)
        self._urgent = 0  # events before this sequence number do not wait for a batch to fill
        self._encoder = Encoder()
        self._dumps = self._encoder.dumps
        self._loop: asyncio.AbstractEventLoop | None = None
        # The loop's own:
        self._batcher = Batcher(
            max_bytes=tuning.max_batch_bytes,
            max_events=tuning.max_batch_events,
            linger=tuning.flush_interval,
            framing=destination.framing,
        )
        self._throttle = None if tuning.rate_limit is None else Throttle(tuning.rate_limit)
        self._breaker = Breaker()
        self._pauses = Backoff(tuning.retry)
        self._idle: list[
            asyncio.Future[None]
        ] = []  # workers with nothing to do, the last to sleep first
        self._lingerer: asyncio.Future[None] | None = (
            None  # the one worker that watches a batch fill
        )
        self._in_hand: dict[Narrowing, None] = {}
        self._returned: deque[Batch] = deque()  # taken, but cut off before a fate
        self._one_by_one = False  # the intake was seen to refuse batches
        self._deadline = NEVER  # when the last flush ends
        self._started = 0  # workers; they are started as they are needed
        self._spawn: Spawn
        self._gate: Gate
        self._transport: Transport
        self._clock: Callable[[], float]
        self._closing: anyio.Event
        self._drained: anyio.Event

    # --- in the caller's thread -------------------------------------------------------------------

    def submit(self, event: Event) -> bool:
        """
        Takes a neutral event: encodes it, queues it, rings if somebody waits for it. Never raises.

        Returns:
            Whether it was accepted.
        """
        try:
            body = self._encode(event, self._dumps)
        except EventRejected as exc:
            self.reject(exc.reason, exc.detail)
            return False
        except Exception as exc:  # noqa: BLE001 a destination is somebody's code, a mapping anybody's
            self.reject("unencodable", type(exc).__name__)
            return False
        return body is not None and self._accept(body, event.id)

    def submit_payload(self, payload: Mapping[str, Any], event_id: str, now: float) -> str | None:
        """
        Takes a vendor's own body. Never raises.

        Returns:
            The event's id, or None if it was not accepted.
        """
        try:
            body, event_id = self.destination.encode_payload(
                payload, event_id=event_id, time=now, dumps=self._dumps
            )
        except EventRejected as exc:
            self.reject(exc.reason, exc.detail)
            return None
        except Exception as exc:  # noqa: BLE001 as above
            self.reject("unencodable", type(exc).__name__)
            return None
        return event_id if self._accept(body, event_id) else None

    def _accept(self, body: bytes, event_id: str) -> bool:
        if len(body) > self._max_event:
            self.reject("too_large", f"{len(body):,} bytes, the limit is {self._max_event:,}")
            return False
        with self._lock:
            closed = self._closed
            if not closed:
                queue = self._queue
                evicted = queue.push(body, event_id)
                if evicted is None:
                    self._ledger.dropped[DropReason.OVERFLOW] += 1
                elif evicted:
                    self._ledger.dropped[DropReason.OVERFLOW] += len(evicted)
                ring = (
                    len(queue.bodies) >= self._ring_events or queue.queued_bytes >= self._ring_bytes
                )
                if ring:
                    self._ring_events = self._ring_bytes = NEVER  # once is enough
        if closed:
            self.reject("closed", "the dispatcher is closed")
            return False
        if ring:
            self._call_loop(self._rung)
        if evicted == ():
            return True
        self._overflowed(((body, event_id),) if evicted is None else evicted)
        return evicted is not None

    def _overflowed(self, lost: Evicted) -> None:
        self._log(
            "overflow", "%s: the queue is full, events are dropped (%s)", self._queue.overflow
        )
        self._offer(
            DropReason.OVERFLOW, [body for body, _ in lost], [event_id for _, event_id in lost]
        )

    def reject(self, reason: str, detail: str) -> None:
        """
        Counts an event that was not taken, and says so once a minute for each reason.
        """
        with self._lock:
            self._ledger.rejections[reason] += 1
        self._log(f"rejected {reason}", "%s: an event was rejected, %s: %s", reason, detail)

    def _log(self, kind: str, message: str, *args: object) -> None:
        with self._lock:
            held_back = self._damper.admit(kind, time.monotonic())
        if held_back is None:
            return
        if held_back:
            message += " (%d more like it since the last such line)"
            args += (held_back,)
        logger.warning(message, self.name, *args)

    def _offer(self, reason: DropReason, bodies: list[bytes], ids: list[str]) -> None:
        if self._hook is not None:
            for body, event_id in zip(bodies, ids, strict=True):
                self._hook.offer(reason, DroppedEvent(event_id, self.name, body))

    def _call_loop(self, callback: Callable[[], None]) -> None:
        # `call_soon_threadsafe` also from the loop's own thread: a signal handler there interrupts
        # a sleeping selector, which `call_soon` would not wake.
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(callback)
            except RuntimeError:  # closed in the meantime: the next start finds the queue as it is
                return

    # --- seen from outside, any thread ------------------------------------------------------------

    def stats(self) -> DestinationStats:
        """
        The ledger at this instant.
        """
        with self._lock:
            return self._ledger.snapshot(
                self._queue, marked_fields=self._encoder.marked, state=self._breaker.state.value
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
        self._call_loop(self._hurry)
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
            held = sum(work.events() for work in self._in_hand if work.first < target)
            held += sum(len(batch) for batch in self._returned if batch.first < target)
            return held + max(0, target - self._queue.head)

    def close(self) -> None:
        """
        From now on events are rejected.
        """
        with self._lock:
            self._closed = True

    def reopen(self) -> None:
        """
        Takes events again.
        """
        with self._lock:
            self._closed = False

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
        self._clock = clock
        self._transport = transport
        self._gate = Gate(self._throttle, self._breaker, clock)
        self._breaker.probe_ended()
        self._closing = anyio.Event()
        self._drained = anyio.Event()
        self._deadline = NEVER
        self._loop = loop

    def start(self, spawn: Spawn) -> None:
        """
        Begins to work with what is queued and returned.
        """
        self._spawn = spawn
        self._idle.clear()
        self._lingerer = None
        self._started = 0
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
        self._closing.set()
        self._breaker.nudge(self._clock())
        self._gate.pump()
        self._hurry()
        self._settled()
        await self._drained.wait()

    def detach(self) -> None:
        """
        Lets go of the loop; what workers had in hand waits for the next one.
        """
        self._loop = None
        for work in tuple(self._in_hand):
            self._put_back(work)
        with self._lock:
            self._ring_events = self._ring_bytes = NEVER
            flushes, self._flushes = self._flushes, []
        for _, notify in flushes:
            notify()  # `left` says how it ended

    def abandon(self) -> int:
        """
        Gives up everything pending, for `shutdown`.

        Returns:
            How many events that were.
        """
        given_up = 0
        while self._returned:
            batch = self._returned.popleft()
            given_up += len(batch)
            self._drop(batch, DropReason.SHUTDOWN)
        while self._queue:
            batch = Batch([], [], self._queue.head)
            with self._lock:
                while self._queue and len(batch) < 1_000:
                    body, event_id = self._queue.pop()
                    batch.add(body, event_id)
            given_up += len(batch)
            self._drop(batch, DropReason.SHUTDOWN)
        return given_up

    # --- in the loop: from the queue to a worker --------------------------------------------------

    async def _work(self) -> None:
        """
        One worker: takes a batch, brings it to its fate, takes the next.
        """
        while True:
            batch = await self._next_batch()
            work = Narrowing(batch)
            self._in_hand[work] = None
            try:
                await self._deliver(work)
            except Exception as exc:  # noqa: BLE001 a destination is somebody's code; the worker must live
                self._log(
                    "internal", "%s: building or judging a request raised %s", type(exc).__name__
                )
                for part in work.rest():
                    self._drop(part, DropReason.INTERNAL)
            finally:
                self._put_back(work)
                self._settled()

    def _put_back(self, work: Narrowing) -> None:
        # Cut off by a cancellation: perhaps sent, so it will go again under the same ids.
        if work in self._in_hand:
            del self._in_hand[work]
            self._returned.extend(work.rest())

    async def _next_batch(self) -> Batch:
        while True:
            now = self._clock()
            batch = self._take(now)
            if batch is not None:
                return batch
            await self._doze(now)

    def _take(self, now: float) -> Batch | None:
        if self._returned:
            return self._returned.popleft()
        with self._lock:
            if self._due_in(now) > 0.0:
                return None
        batch = Batch([], [], self._queue.head)
        room = self._batcher.max_bytes
        while room >= 0:
            with self._lock:
                room = self._batcher.fill(self._queue, batch, room)
        self._batcher.took(now)
        with self._lock:
            more = len(self._queue) > 0
            if not more and self._lingerer is None and self._somebody_is_free():
                self._ring_events = (
                    1  # while this worker is busy, the next event wakes the next one
                )
        if more:
            self._rung()
        return batch if len(batch) else None

    def _somebody_is_free(self) -> bool:
        return bool(self._idle) or self._started < self.destination.tuning.workers

    def _due_in(self, now: float) -> float:
        urgent = self._queue.head < self._urgent or self._deadline != NEVER
        return self._batcher.due_in(self._queue, now, urgent=urgent)

    async def _doze(self, now: float) -> None:
        """
        Sleeps until there may be something to do: as the one that watches a batch fill, or as one
        of the idle.
        """
        assert self._loop is not None
        future = self._loop.create_future()
        with self._lock:
            # Looked at again under the lock: a call in between would have found nobody to ring for.
            wait = self._due_in(now)
            if wait == 0.0:
                return
            watching = wait != NEVER and self._lingerer is None
            if watching:
                self._lingerer = future
                self._ring_bytes, self._ring_events = self._batcher.full_at()
            else:
                self._idle.append(future)
                if self._lingerer is None:
                    self._ring_events = 1
        if not watching:
            await future
            return
        timer = self._loop.call_later(wait, _wake, future)
        try:
            await future
        finally:
            timer.cancel()
            self._lingerer = None

    def _rung(self) -> None:
        """
        Wakes one worker: the one that watches, or the one that slept last and has the freshest
        connection, or a new one.
        """
        if self._lingerer is not None:
            _wake(self._lingerer)
            return
        while self._idle:
            if _wake(self._idle.pop()):
                return
        if self._started < self.destination.tuning.workers:
            self._started += 1
            self._spawn(self._work, f"sendoff {self.name} {self._started}")

    def _hurry(self) -> None:
        self._rung()
        self._settled()

    # --- in the loop: from a worker to a fate -----------------------------------------------------

    async def _deliver(self, work: Narrowing) -> None:
        while (part := work.next(one_by_one=self._one_by_one)) is not None:
            request = self.destination.request(part.bodies)
            if self.destination.tuning.compression is not None:
                request = await self._compress(request)
            await self._until_settled(work, part, request)

    async def _compress(self, request: Request) -> Request:
        method = self.destination.tuning.compression
        assert method is not None
        if len(request.body) < COMPRESS_IN_THREAD:
            return compressed(request, method)
        return await anyio.to_thread.run_sync(compressed, request, method, abandon_on_cancel=True)

    async def _until_settled(self, work: Narrowing, part: Batch, request: Request) -> None:
        """
        Sends one part again and again, until it has its fate or is halved.
        """
        backoff: Backoff | None = None
        while True:
            verdict = await self._attempt(part, request)
            action = verdict.action
            if action is Action.DELIVERED:
                with self._lock:
                    self._ledger.delivered += len(part)
                    self._queue.release(len(part), part.size)
                work.settle()
                if work.delivered(part):
                    self._refuses_batches()
                return
            if action is Action.NARROW or action is Action.SPLIT:
                too_large = action is Action.SPLIT
                if len(part) > 1:
                    work.refused(part, too_large=too_large)
                    return
                self._say(verdict, "one event is given up")
                self._drop(part, DropReason.TOO_LARGE if too_large else DropReason.REFUSED)
                work.settle()
                return
            if action is Action.HOLD:
                self._say(verdict, "everything is kept and tried slowly until that is mended")
                part.started = None
                continue  # the breaker holds the gate
            if backoff is None:
                backoff = Backoff(self._retry)
            now = self._clock()
            assert part.started is not None
            wait = backoff.next_wait(
                part.started, now, retry_after=verdict.retry_after, at_once=verdict.at_once
            )
            if isinstance(wait, DropReason):
                self._say(verdict, f"given up after the last try ({wait})")
                self._drop(part, wait)
                work.settle()
                return
            self._say(verdict, "trying again")
            await self._pause(wait)

    async def _attempt(self, part: Batch, request: Request) -> Verdict:
        """
        Waits for leave, sends once, judges what comes back, and tells the breaker.
        """
        permit = await self._gate.enter()
        probing = self._breaker.state is BreakerState.HALF_OPEN
        now = self._clock()
        if part.started is None:
            part.started = now
        part.tries += 1
        with self._lock:
            self._ledger.requests += 1
            self._ledger.retries += part.tries > 1
        verdict: Verdict | None = None
        perhaps_sent = True
        try:
            with anyio.move_on_after(self._timeout):
                response = await self._transport.send(request, partial(self._gate.sent, permit))
                verdict = self.destination.verdict(response, time.time())
            if verdict is None:
                verdict = verdict_of_failure("timeout")
        except TransportError as exc:
            perhaps_sent = exc.perhaps_sent
            verdict = verdict_of_failure(exc.failure)
        finally:
            (self._gate.sent if perhaps_sent else self._gate.unsent)(permit)
            if verdict is not None:
                self._tell_breaker(verdict)
            if probing:
                self._breaker.probe_ended()
            if probing or self._breaker.state is not BreakerState.CLOSED:
                self._gate.pump()
        return verdict

    def _tell_breaker(self, verdict: Verdict) -> None:
        now = self._clock()
        left = self._deadline - now
        if verdict.action is Action.HOLD:
            self._breaker.failed(now, self._pauses.hold(), certain=True)
        elif verdict.action is Action.RETRY:
            floor = floor_of(self._retry, verdict.retry_after)
            pause = max(floor, min(self._pauses.pause(), left / 2))
            self._breaker.failed(now, pause, certain=floor > 0.0)
        elif self._breaker.failures:
            self._breaker.succeeded()
            self._pauses = Backoff(self._retry)
            self._gate.pump()
        if left < self._breaker.pause_left(now):
            self._drained.set()  # no probe will go before the last flush ends: no use in waiting for it

    async def _pause(self, seconds: float) -> None:
        """
        Sleeps between two tries; a call to close ends it, and from then on half of the time left is
        the most.
        """
        if not self._closing.is_set():
            with anyio.move_on_after(seconds):
                await self._closing.wait()
        else:
            await anyio.sleep(max(0.0, min(seconds, (self._deadline - self._clock()) / 2)))

    def _refuses_batches(self) -> None:
        if not self._one_by_one:
            self._one_by_one = True
            self._batcher.one_by_one()
            logger.warning(
                "%s: the intake refuses batches but takes their events one by one; "
                "from now on every request carries one event",
                self.name,
            )

    def _say(self, verdict: Verdict, consequence: str) -> None:
        self._log(
            f"verdict {verdict.reason}",
            "%s: %s (%s); %s",
            verdict.reason,
            verdict.detail,
            consequence,
        )

    def _drop(self, part: Batch, reason: DropReason) -> None:
        with self._lock:
            self._ledger.dropped[reason] += len(part)
            self._queue.release(len(part), part.size)
        self._offer(reason, part.bodies, part.ids)

    def _settled(self) -> None:
        """
        Tells whoever waits, if what they wait for has come.
        """
        if self._flushes:
            with self._lock:
                oldest = min(
                    (
                        self._queue.head,
                        *(work.first for work in self._in_hand),
                        *(batch.first for batch in self._returned),
                    )
                )
                ready = [notify for target, notify in self._flushes if target <= oldest]
                self._flushes = [flush for flush in self._flushes if flush[0] > oldest]
            for notify in ready:
                notify()
        if self._deadline != NEVER and self._queue.held_events == 0:
            self._drained.set()


def _wake(future: asyncio.Future[None]) -> bool:
    if future.done():
        return False
    future.set_result(None)
    return True
