"""
From a worker's hand to a fate: waits for leave, sends, judges, tries again, narrows down.

Read it from top to bottom: it is the order in which a batch meets the steps. It may raise whatever
a destination or a transport raises; the lane's worker contains that. Cancelling it loses nothing:
what has no fate is still in the `Narrowing` that was given.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import anyio
from anyio.lowlevel import checkpoint

from sendoff._batcher import Batch, Batcher
from sendoff._breaker import Breaker, BreakerState
from sendoff._gate import Gate
from sendoff._intake import Intake
from sendoff._narrow import Narrowing
from sendoff._retry import Backoff, floor_of
from sendoff._threads import in_thread
from sendoff._throttle import Throttle
from sendoff._window import Window
from sendoff.destinations.base import compressed
from sendoff.destinations.verdicts import verdict_of_failure
from sendoff.errors import TransportError
from sendoff.events import Action, DropReason, Request, Verdict
from sendoff.transports.base import Transport

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

PROBE_SHARE = 0.2
"""
The first pause of a breaker, as a share of `Retry.base`: one probe costs a vendor little. Later
ones last at most this and half of the outage so far: 0.7 s of it must not cost three.
"""

logger = logging.getLogger("sendoff")


class Delivery:
    """
    Brings the batches of one lane to their fates, in one loop.

    Args:
        intake: Where fates are counted.
        batcher: Told when the vendor is seen to refuse batches.
        throttle: The lane's limit, or None.
        breaker: The lane's breaker.
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
        *,
        transport: Transport,
        clock: Callable[[], float],
        hopeless: Callable[[], None],
    ) -> None:
        self._intake = intake
        self._destination = intake.destination
        self._tuning = intake.destination.tuning
        self._batcher = batcher
        self._breaker = breaker
        self._gate = Gate(throttle, breaker, Window(self._tuning.workers), clock)
        self._transport = transport
        self._clock = clock
        self._hopeless = hopeless
        # What a destination need not have: the request with the credentials of the moment.
        self._authorized = getattr(self._destination, "authorized", _as_it_is)
        self._probe_base = self._tuning.retry.base * PROBE_SHARE
        # All mutable state.
        self._pauses = self._new_pauses()
        self._down_since = math.inf  # when the breaker opened
        self._closing = anyio.Event()
        self._making = anyio.Lock()  # held by the worker whose request a thread makes
        self._deadline = math.inf  # when the last flush ends
        # The loop before this one may have ended in the middle of a probe, and had its own clock.
        breaker.probe_ended()
        breaker.nudge(clock())
        if throttle is not None:
            throttle.resume(clock())

    def close(self, deadline: float) -> None:
        """
        Ends all waiting for the sake of a vendor: everything is tried at once, and until a
        deadline.
        """
        self._deadline = deadline
        self._closing.set()
        self._breaker.nudge(self._clock())
        self._gate.hurry()

    async def bring(self, work: Narrowing) -> None:
        """
        Brings every part of a batch to its fate.
        """
        while (part := work.next(one_by_one=self._batcher.max_events == 1)) is not None:
            if part.size > LARGE:
                # To take it from the queue was work enough for one turn of the loop.
                await checkpoint()
            await self._until_settled(work, part, await self._request(part))

    def _routed(self, request: Request) -> Request:
        tuning = self._tuning
        if tuning.ssl is None and tuning.proxy is None:
            return request
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
        request = self._routed(self._destination.request(bodies))
        method = self._tuning.compression
        return request if method is None else compressed(request, method)

    async def _until_settled(self, work: Narrowing, part: Batch, request: Request) -> None:
        """
        Sends one part again and again, until it has its fate or is halved.
        """
        backoff: Backoff | None = None
        while True:
            verdict = await self._attempt(part, request)
            action = verdict.action
            if action is Action.DELIVERED:
                self._intake.delivered(part)
                work.settle()
                if work.delivered(part) and self._batcher.max_events != 1:
                    self._go_one_by_one()
                if part.size > LARGE:
                    while part.let_go(SLICE):
                        await checkpoint()
                return
            if action is Action.NARROW or action is Action.SPLIT:
                too_large = action is Action.SPLIT
                if len(part) > 1:
                    work.refused(part, too_large=too_large)
                    return
                self._say(verdict, "one event is given up")
                self._intake.dropped(
                    part,
                    DropReason.TOO_LARGE if too_large else DropReason.REFUSED,
                    verdict.status,
                    verdict.detail,
                )
                work.settle()
                return
            if action is Action.HOLD:
                self._say(verdict, "everything is kept and tried slowly until that is mended")
                part.started = None
                continue  # the breaker holds the gate
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
                return
            self._say(verdict, "trying again")
            await self._pause(wait)

    async def _attempt(self, part: Batch, request: Request) -> Verdict:
        """
        Waits for leave, sends once, judges what comes back, and tells the breaker.
        """
        permit = await self._gate.enter()
        now = self._clock()
        if part.started is None:
            part.started = now
        verdict: Verdict | None = None
        worked: bool | None = None
        perhaps_sent = True
        written = False

        def sent() -> None:
            nonlocal written
            written = True
            self._gate.sent(permit)

        try:
            ready = self._authorized(request)  # a retry goes with the key of its own moment
            part.tries += 1
            self._intake.tried(again=part.tries > 1)
            with anyio.move_on_after(self._tuning.timeout):
                response = await self._transport.send(ready, sent)
                verdict = self._destination.verdict(response, time.time())
            if verdict is None:
                perhaps_sent = written
                verdict = verdict_of_failure("timeout" if written else "connect_timeout")
        except TransportError as exc:
            perhaps_sent = exc.perhaps_sent
            verdict = verdict_of_failure(exc.failure, exc.detail)
        finally:
            (self._gate.sent if perhaps_sent else self._gate.unsent)(permit)
            probing = self._breaker.is_probe(permit)
            if verdict is not None:
                worked = verdict.action not in (Action.HOLD, Action.RETRY)
                self._tell_breaker(verdict, probing)
            if probing:
                self._breaker.probe_ended()
            self._gate.ended(permit, worked=worked)
            if probing or self._breaker.state is not BreakerState.CLOSED:
                self._gate.pump()
        return verdict

    def _tell_breaker(self, verdict: Verdict, probing: bool) -> None:
        breaker, now = self._breaker, self._clock()
        left = self._deadline - now
        if verdict.action is Action.HOLD:
            if breaker.failed(certain=True, probe=probing):
                self._gate.restart()
                # The last flush does not wait for somebody to mend a key.
                ending = self._deadline != math.inf
                breaker.pause(
                    now + (self._tuning.retry.hold_interval if ending else self._pauses.hold())
                )
        elif verdict.action is Action.RETRY:
            floor = floor_of(self._tuning.retry, verdict.retry_after)
            if breaker.failed(certain=floor > 0.0, probe=probing):
                self._gate.restart()
                self._pauses.spread()
                self._down_since = min(self._down_since, now)
                longest = self._probe_base + (now - self._down_since) / 2
                breaker.pause(now + min(self._pauses.pause(), longest, left / 2))
            breaker.pause(now + self._pauses.beyond(floor))
        elif breaker.failures and breaker.succeeded():
            self._pauses = self._new_pauses()
            self._down_since = math.inf
            self._gate.pump()
        if left < breaker.pause_left(now):
            self._hopeless()  # no probe will go before the last flush ends

    def _new_pauses(self) -> Backoff:
        # The breaker's own: one probe costs the vendor little, so it comes sooner than a retry.
        return Backoff(replace(self._tuning.retry, base=self._probe_base))

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
        logger.warning(
            "%s: the intake refuses batches but takes their events one by one; "
            "from now on every request carries one event",
            self._intake.name,
        )

    def _say(self, verdict: Verdict, consequence: str) -> None:
        self._intake.trouble = (verdict.status, verdict.detail)
        self._intake.log(
            f"{verdict.reason}, {consequence}",  # that events are lost is news after a retry
            "%s: %s (%s); %s",
            verdict.reason,
            verdict.detail,
            consequence,
            # Somebody must mend a configuration; an outage passes.
            level=logging.ERROR if verdict.action is Action.HOLD else logging.WARNING,
        )


def _as_it_is(request: Request) -> Request:
    return request
