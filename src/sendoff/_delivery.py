"""
From a worker's hand to a fate: waits for leave, sends, judges, tries again, narrows down.

Read it from top to bottom: it is the order in which a batch meets the steps. It may raise whatever
a destination or a transport raises; the lane's worker contains that. Cancelling it loses nothing:
what has no fate is still in the `Narrowing` that was given.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from sendoff._ages import Downtime
from sendoff._batcher import Batch, Batcher
from sendoff._breaker import Breaker
from sendoff._deadlines import Deadlines
from sendoff._gate import Gate
from sendoff._intake import Intake
from sendoff._lines import BATCHES_REFUSED, REQUEST_FAILED
from sendoff._log import write
from sendoff._narrow import Narrowing
from sendoff._outage import Outage
from sendoff._retry import Backoff
from sendoff._threads import in_thread
from sendoff._throttle import Throttle
from sendoff._window import Window
from sendoff.destinations.base import compressed
from sendoff.destinations.verdicts import verdict_of_failure
from sendoff.errors import TransportError
from sendoff.events import Action, DropReason, Request, Verdict
from sendoff.transports.base import Transport, lane_of

__all__ = ["Delivery"]

COMPRESS_IN_THREAD = 32 * 1024
"""
Bytes above which a body is compressed in a worker thread: below, the hand-over costs more than it
saves.
"""

JOIN_IN_THREAD = 1024 * 1024
"""
Bytes of a batch from which its body is put together in a worker thread: from there on `bytes.join`
copies without the interpreter's lock, and fresh memory for 5 MB costs up to 8 ms.
"""

LARGE = 256 * 1024
"""Bytes of a batch from which its way is cut into several turns of the loop."""

SLICE = 2_048
"""Events of a large batch that are freed in one turn of the loop, some 0.3 ms."""

NEVER = math.inf

DELIVERED = Action.DELIVERED
"""Looked up once: an enum's member costs as much as a call."""


class Delivery:
    """
    Brings the batches of one lane to their fates, in one loop.

    Args:
        intake: Where fates are counted.
        batcher: Told when the vendor is seen to refuse batches.
        throttle: The lane's limit, or None.
        breaker: The lane's breaker.
        downtime: Told of its pauses.
        transport: What sends.
        clock: Seconds of a monotonic clock.
        hopeless: Called when nothing more can be sent before the last flush ends.
    """

    def __init__(
        self,
        intake: Intake,
        batcher: Batcher,
        throttle: Throttle | None,
        breaker: Breaker,
        downtime: Downtime,
        *,
        transport: Transport,
        clock: Callable[[], float],
        hopeless: Callable[[], None],
    ) -> None:
        self._intake = intake
        self._destination = intake.destination
        self._tuning = tuning = intake.destination.tuning
        self._is_routed = tuning.ssl is not None or tuning.proxy is not None
        self._batcher = batcher
        self._breaker = breaker
        self._gate = gate = Gate(throttle, breaker, Window(self._tuning.workers), clock)
        self._outage = Outage(breaker, gate, self._tuning.retry, downtime, hopeless=hopeless)
        self._deadlines = Deadlines(self._tuning.timeout, clock)
        self._transport = transport
        self._clock = clock
        # What a destination need not have: the request with the credentials of the moment.
        self._authorized = getattr(self._destination, "authorized", _as_it_is)
        # All mutable state.
        self._closing = anyio.Event()
        self._making = anyio.Lock()  # held by the worker whose request a thread makes
        self._deadline = NEVER  # when the last flush ends
        # The loop before this one may have ended in the middle of a probe, and had its own clock.
        breaker.probe_ended()
        breaker.nudge(clock())
        downtime.resume(clock())
        if throttle is not None:
            throttle.resume(clock())

    def close(self, deadline: float) -> None:
        """
        Ends all waiting for the sake of a vendor: everything is tried at once, and until a
        deadline.
        """
        self._deadline = self._outage.deadline = deadline
        self._closing.set()
        self._breaker.nudge(self._clock())
        self._gate.hurry()

    def detach(self) -> None:
        """
        Lets go of the loop: no attempt is under way any more.
        """
        self._deadlines.close()

    async def bring(self, work: Narrowing, task: asyncio.Task[Any]) -> None:
        """
        Brings every part of a batch to its fate.

        Args:
            work: The batch.
            task: The current one.
        """
        while (part := work.next(one_by_one=self._batcher.max_events == 1)) is not None:
            if part.size > LARGE:
                # To take it from the queue was work enough for one turn of the loop.
                await checkpoint()
            if len(part.bodies) == 1 and self._tuning.compression is None:
                request = self._destination.request(part.bodies)
                if self._is_routed:
                    request = self._routed(request)
            else:
                request = await self._request(part)
            verdict = await self._attempt(part, request, task)
            if verdict.action is DELIVERED:
                self._arrived(work, part)
            else:
                verdict = await self._until_settled(work, part, request, task, verdict)
            if part.size > LARGE and verdict.action is DELIVERED:
                while part.let_go(SLICE):
                    await checkpoint()

    def _arrived(self, work: Narrowing, part: Batch) -> None:
        self._intake.delivered(part)
        work.settle()
        if part.parent is not None and work.delivered(part) and self._batcher.max_events != 1:
            self._go_one_by_one()

    def _routed(self, request: Request) -> Request:
        tuning = self._tuning
        return replace(request, ssl=request.ssl or tuning.ssl, proxy=request.proxy or tuning.proxy)

    async def _request(self, part: Batch) -> Request:
        """
        A batch's request; a large one is made in a worker thread, one at a time: more of them would
        crowd the loop's thread out of the processors.
        """
        compressing = self._tuning.compression is not None and part.size >= COMPRESS_IN_THREAD
        if not compressing and (len(part) == 1 or part.size < JOIN_IN_THREAD):
            return self._made(part.bodies)
        async with self._making:
            return await in_thread(self._made, part.bodies)

    def _made(self, bodies: Sequence[bytes]) -> Request:
        request = self._destination.request(bodies)
        if self._is_routed:
            request = self._routed(request)
        method = self._tuning.compression
        return request if method is None else compressed(request, method)

    async def _until_settled(
        self,
        work: Narrowing,
        part: Batch,
        request: Request,
        task: asyncio.Task[Any],
        verdict: Verdict,
    ) -> Verdict:
        """
        Sends one part again and again, until it has its fate or is halved.

        Args:
            work: What the part belongs to.
            part: What is sent.
            request: The request for it.
            task: The current one.
            verdict: How the first attempt ended.

        Returns:
            How the last one did.
        """
        backoff: Backoff | None = None
        while True:
            action = verdict.action
            if action is DELIVERED:
                self._arrived(work, part)
                return verdict
            if action is Action.NARROW or action is Action.SPLIT:
                too_large = action is Action.SPLIT
                if len(part) > 1:
                    work.refused(part, too_large=too_large)
                    return verdict
                self._say(verdict, "one event is given up")
                self._intake.dropped(
                    part,
                    DropReason.TOO_LARGE if too_large else DropReason.REFUSED,
                    verdict.status,
                    verdict.detail,
                )
                work.settle()
                return verdict
            if action is Action.HOLD:
                self._say(verdict, "everything is kept and tried slowly until that is mended")
                part.started = None  # and the breaker holds the gate
            else:
                if backoff is None:
                    backoff = Backoff(self._tuning.retry)
                now = self._clock()
                assert part.started is not None
                wait = backoff.next_wait(
                    part.started, now, retry_after=verdict.retry_after, at_once=verdict.at_once
                )
                if isinstance(wait, DropReason):
                    self._say(verdict, f"given up after the last try ({wait})")
                    self._intake.dropped(part, wait, verdict.status, verdict.detail)
                    work.settle()
                    return verdict
                self._say(verdict, "trying again")
                await self._pause(wait)
            verdict = await self._attempt(part, request, task)

    async def _attempt(self, part: Batch, request: Request, task: asyncio.Task[Any]) -> Verdict:
        """
        Waits for leave, sends once, judges what comes back, and tells the breaker.
        """
        gate, clock = self._gate, self._clock
        now = clock()
        permit = gate.enter(now)
        if permit < 0:
            permit = await gate.wait()
            now = clock()
        if part.started is None:
            part.started = now
        verdict: Verdict | None = None
        answer: int | str = 0
        perhaps_sent = True
        begun = written = timed_out = False
        ledger = self._intake.ledger

        def sent() -> None:
            nonlocal written
            written = True
            gate.sent(permit)

        try:
            ready = self._authorized(request)  # a retry goes with the key of its own moment
            if not ledger.lane:
                ledger.lane = lane_of(self._transport, ready)
            part.tries += 1
            ledger.begun(len(part.bodies), len(ready.body), part.tries > 1)
            begun = True
            self._deadlines.begin(task, now)
            try:
                response = await self._transport.send(ready, sent)
            finally:
                timed_out = self._deadlines.end(task)
            answer = response.status
            verdict = self._destination.verdict(response, time.time())
        except TransportError as exc:
            answer = exc.failure if begun else 0
            perhaps_sent = exc.perhaps_sent
            verdict = verdict_of_failure(exc.failure, exc.detail)
        except asyncio.CancelledError:
            if not timed_out:
                raise
            perhaps_sent = written
            answer = "timeout" if written else "connect_timeout"
            verdict = verdict_of_failure(answer)
        finally:
            if not written:  # else it is noted already
                (gate.sent if perhaps_sent else gate.unsent)(permit)
            ended = clock()
            if verdict is not None:  # else it was cut off
                ledger.ended(answer, verdict, ended - now, ended)
            self._outage.ended(permit, verdict, ended)
        return verdict

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

    def _go_one_by_one(self) -> None:
        self._batcher.one_by_one()
        write(BATCHES_REFUSED, self._intake.name)

    def _say(self, verdict: Verdict, consequence: str) -> None:
        self._intake.trouble = (verdict.status, verdict.detail)
        self._intake.log(
            f"{verdict.reason}, {consequence}",  # that events are lost is news after a retry
            REQUEST_FAILED,
            verdict.reason,
            verdict.detail,
            consequence,
            verdict.status,
            # Somebody must mend a configuration; an outage passes.
            level=logging.ERROR if verdict.action is Action.HOLD else logging.WARNING,
        )


def _as_it_is(request: Request) -> Request:
    return request
